"""Reading a guest's memory, whatever it comes from."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

_PAGE = 4096


class MemoryFault(Exception):
    """Bytes at an address cannot be read; an answer, not a failure of gprof.

    Args:
        address: the first address of the read that failed.
        size: how many bytes were asked for.
    """

    def __init__(self, address: int, size: int) -> None:
        super().__init__(f"cannot read {size} bytes at {address:#x}")
        self.address = address
        self.size = size


class Memory(Protocol):
    """Guest virtual memory in the kernel's view."""

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`.

        Raises:
            MemoryFault: any of them is not mapped or not known.
        """
        ...


@runtime_checkable
class Gathering(Protocol):
    """Memory that reads many places at the price of a few."""

    def gather(self, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each span (address, size); None where any of them cannot be read."""
        ...


def gather(memory: Memory, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
    """The bytes of each span (address, size), in the cheapest way that `memory` has.

    None stands for a span that cannot be read as a whole.
    """
    if isinstance(memory, Gathering):
        return memory.gather(spans)
    found: list[bytes | None] = []
    for address, size in spans:
        try:
            found.append(memory.read(address, size))
        except MemoryFault:
            found.append(None)
    return found


def windows(memory: Memory, starts: Sequence[int], size: int) -> list[bytes]:
    """A stretch of memory from each of some addresses, with zeros for pages that cannot be read."""
    spans = [
        (max(start, page), min(start + size, page + _PAGE) - max(start, page))
        for start in starts
        for page in range(start // _PAGE * _PAGE, start + size, _PAGE)
    ]
    parts = iter(zip(spans, gather(memory, spans), strict=True))
    found = []
    for _ in starts:
        data = b""
        while len(data) < size:
            (_, length), part = next(parts)
            data += part if part is not None else bytes(length)
        found.append(data)
    return found


def with_holes(memory: Memory, start: int, size: int) -> bytes:
    """A stretch of memory with zeros for its pages that cannot be read.

    Args:
        memory: the guest's.
        start: its first address, that of a page.
        size: in bytes, whole pages.

    Returns:
        Nothing where the first page cannot be read: most holes are whole regions, and one page
        that tells so spares the others.
    """
    try:
        return memory.read(start, size)
    except MemoryFault:
        pass
    try:
        pages = [memory.read(start, _PAGE)]
    except MemoryFault:
        return b""
    for page in range(start + _PAGE, start + size, _PAGE):
        try:
            pages.append(memory.read(page, _PAGE))
        except MemoryFault:
            pages.append(bytes(_PAGE))
    return b"".join(pages)


class BytesMemory:
    """Memory made of pieces of bytes at fixed addresses, such as a recording's hot functions.

    Pieces may touch but not overlap; a read may cross from one piece into the next.
    """

    def __init__(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        ordered = sorted((address, data) for address, data in pieces if data)
        self._starts = [address for address, _ in ordered]
        self._data = [data for _, data in ordered]

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `Memory.read`."""
        found = bytearray()
        at = address
        while len(found) < size:
            i = bisect.bisect_right(self._starts, at) - 1
            if i < 0 or at >= self._starts[i] + len(self._data[i]):
                raise MemoryFault(address, size)
            offset = at - self._starts[i]
            found += self._data[i][offset : offset + size - len(found)]
            at = address + len(found)
        return bytes(found)


class SlidMemory:
    """A memory as seen where it was moved to, such as a file's bytes where the guest has them.

    Args:
        memory: what was moved.
        slide: how far, modulo 2^64.
    """

    def __init__(self, memory: Memory, slide: int) -> None:
        self._memory = memory
        self._slide = slide

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `Memory.read`."""
        try:
            return self._memory.read((address - self._slide) % (1 << 64), size)
        except MemoryFault:
            raise MemoryFault(address, size) from None
