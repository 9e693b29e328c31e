"""A running guest's virtual memory, by walks through its page tables in QEMU's own memory."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from gprof.errors import TargetError
from symbols.memory import Memory, MemoryFault
from symbols.paging import PagedMemory, PageTables

_PAGE = 4096
_MOST_PAGES = 4096
_ATTEMPTS = 3


class WalkedMemory:
    """The kernel's virtual memory by walks of our own through its page tables.

    Pages that were read are kept: text does not change under a profiler.

    Args:
        physical: the guest's RAM.
        roots: tells the roots of the tables that the vcpus use; anew where it is given true.
        lifetime_s: for how long they are believed.
    """

    def __init__(
        self, physical: Memory, roots: Callable[[bool], list[PageTables]], lifetime_s: float
    ) -> None:
        self._physical = physical
        self._roots = roots
        self._lifetime_s = lifetime_s
        self._tables: list[PageTables] = []
        self._tables_end = 0.0
        self._pages: dict[int, bytes] = {}
        self._seen: int | None = None

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `symbols.memory.Memory`."""
        first, last = address // _PAGE, (address + size - 1) // _PAGE
        pages = []
        for number in range(first, last + 1):
            if (page := self._pages.get(number)) is None:
                page = self._fetch(number * _PAGE, address, size)
                if len(self._pages) < _MOST_PAGES:
                    self._pages[number] = page
            pages.append(page)
        return b"".join(pages)[address - first * _PAGE :][:size]

    def gather(self, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each span as they are now; see `symbols.memory.Gathering`."""
        found: list[bytes | None] = [None] * len(spans)
        for view in self._views():
            for i, (address, size) in enumerate(spans):
                if found[i] is None:
                    with suppress(MemoryFault):
                        found[i] = view.read(address, size)
                        self._seen = address
            if None not in found or (self._seen is not None and _sees(view, self._seen)):
                break
        return found

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses a byte can be read of; see `symbols.slide.Probing`."""
        found = [False] * len(addresses)
        for view in self._views():
            found = [_sees(view, address) for address in addresses]
            if any(found):
                self._seen = addresses[found.index(True)]
            if self._seen is not None and _sees(view, self._seen):
                break
        return found

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        self._pages.clear()
        self._tables = []
        self._seen = None

    def _fetch(self, page: int, address: int, size: int) -> bytes:
        for view in self._views():
            try:
                data = view.read(page, _PAGE)
            except MemoryFault:
                # What could be read before tells tables without the kernel from a hole in it.
                if self._seen is not None and _sees(view, self._seen):
                    break
                continue
            self._seen = page
            return data
        raise MemoryFault(address, size)

    def _views(self) -> Iterator[PagedMemory]:
        """What the vcpus see now, and in a few moments to come."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                # Out of step with the guest's timer; moments later a vcpu is in the kernel.
                time.sleep(random.uniform(0, 0.004 * attempt))  # noqa: S311 - spacing
            if attempt or not self._tables or time.monotonic() > self._tables_end:
                try:
                    self._tables = self._roots(attempt > 0)
                except TargetError:
                    return
                self._tables_end = time.monotonic() + self._lifetime_s
            yield PagedMemory(self._physical, *self._tables)


def _sees(memory: Memory, address: int) -> bool:
    try:
        memory.read(address, 1)
    except MemoryFault:
        return False
    return True
