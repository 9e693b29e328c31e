"""The guest kernel's memory, read through the stub."""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Sequence

from gprof.errors import TargetError
from gprof.guest.gdbstub import Stub
from gprof.guest.rsp import is_error
from symbols.memory import MemoryFault

_PAGE = 4096
_MOST_PAGES = 4096

#: How often a read is tried when no vcpu can see the address. One that runs user code may not map
#: the kernel at all (page-table isolation); moments later it is in the kernel, or another one is.
_ATTEMPTS = 6


class StubMemory:
    """Guest virtual memory through `m` packets, each read in a stop of its own.

    Text does not change under a profiler, so whole pages are kept; `forget` drops them. Reads
    go through whichever vcpu can see the address.
    """

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `symbols.memory.Memory`.

        What was read once stays known after the guest has gone.

        Raises:
            MemoryFault: no vcpu can read them, or the guest has gone.
        """
        first, last = address // _PAGE, (address + size - 1) // _PAGE
        missing = [n * _PAGE for n in range(first, last + 1) if n * _PAGE not in self._pages]
        for page in missing:
            try:
                data = self._fetch(page)
            except TargetError:
                data = None
            if data is None:
                raise MemoryFault(address, size)
            self._pages[page] = data
        found = b"".join(self._pages[n * _PAGE] for n in range(first, last + 1))
        while len(self._pages) > _MOST_PAGES:
            self._pages.popitem(last=False)
        return found[address - first * _PAGE :][:size]

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses some vcpu can read a byte of, asked in as few stops as possible."""
        found = [False] * len(addresses)
        for attempt in range(_ATTEMPTS):
            _pause(attempt)
            for vcpu in self._stub.vcpus:
                asked = [b"Hg" + vcpu.thread, *(b"m%x,1" % address for address in addresses)]
                replies = self._stub.exchange(asked).replies[1:]
                found = [
                    known or (len(reply) == 2 and not is_error(reply))
                    for known, reply in zip(found, replies, strict=True)
                ]
            if any(found):
                break
        return found

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        self._pages.clear()

    def _fetch(self, page: int) -> bytes | None:
        # The stub takes half a packet at most: two digits a byte.
        step = min(_PAGE, 1 << ((self._stub.packet_size // 2).bit_length() - 1))
        parts = [b"m%x,%x" % (at, step) for at in range(page, page + _PAGE, step)]
        for attempt in range(_ATTEMPTS):
            _pause(attempt)
            for vcpu in self._stub.vcpus:
                chosen, *replies = self._stub.exchange([b"Hg" + vcpu.thread, *parts]).replies
                if chosen == b"OK" and all(len(reply) == 2 * step for reply in replies):
                    try:
                        return bytes.fromhex(b"".join(replies).decode("ascii"))
                    except ValueError:
                        continue
        return None


def _pause(attempt: int) -> None:
    """Wait a little longer each time, out of step with the guest's timer."""
    if attempt:
        time.sleep(random.uniform(0, 0.004 * attempt))  # noqa: S311 - spacing, not a secret
