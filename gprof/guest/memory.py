"""The guest kernel's memory, read through the stub."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from gprof.errors import TargetError
from gprof.guest.gdbstub import Stub
from gprof.guest.rsp import is_error
from symbols.memory import MemoryFault

_PAGE = 4096
_MOST_PAGES = 4096

#: How often a read is tried when no vcpu can see the address. One that runs user code may not map
#: the kernel at all (page-table isolation); moments later it is in the kernel, or another one is.
_ATTEMPTS = 6
#: How many vcpus have to agree that an address is a hole, where one of them sees the kernel.
_ENOUGH_VCPUS = 4

#: How long one stop for reading may keep the guest, and how many packets are asked for at first,
#: at least and at most to stay below: 16 packets of 2 KiB take half a millisecond.
_LONGEST_STOP_NS = 1_000_000
_FIRST_PACKETS, _FEWEST_PACKETS, _MOST_PACKETS = 16, 8, 128
#: A guest that is read in many stops runs at least as long as it stood.
_LONGEST_REST_S = 0.005


@dataclass(slots=True)
class ReadingCost:
    """What reading has cost the guest so far.

    Attributes:
        stops: how often it was stopped.
        size: bytes that were read.
        halted_ns: how long it stood; an upper bound, which holds our own delays.
    """

    stops: int = 0
    size: int = 0
    halted_ns: int = 0


class StubMemory:
    """Guest virtual memory through `m` packets, as many a stop as keep it short.

    Text does not change under a profiler, so whole pages are kept; `forget` drops them. Reads
    go through whichever vcpu can see the address.

    Attributes:
        cost: of all reads until now.
    """

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._pages: OrderedDict[int, bytes] = OrderedDict()
        # The stub takes half a packet at most: two digits a byte.
        self._step = min(_PAGE, 1 << ((stub.packet_size // 2).bit_length() - 1))
        self._packets = _FIRST_PACKETS
        self._seen: int | None = None
        self._last_ns = 0
        self._turn = threading.RLock()  # of what is kept: a screen reads while pages are dropped
        self.cost = ReadingCost()

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `symbols.memory.Memory`.

        What was read once stays known after the guest has gone.

        Raises:
            MemoryFault: no vcpu can read them, or the guest has gone.
        """
        if not 0 <= address <= address + size <= 1 << 64:
            raise MemoryFault(address, size)
        if not size:
            return b""
        first, last = address // _PAGE, (address + size - 1) // _PAGE
        found: list[bytes] = []
        # In parts that the pages kept can hold, however much is asked for.
        for part in range(first, last + 1, _MOST_PAGES // 2):
            numbers = range(part, min(part + _MOST_PAGES // 2, last + 1))
            with self._turn:
                if not self._fetch([n * _PAGE for n in numbers]):
                    raise MemoryFault(address, size)
                found += [self._pages[n * _PAGE] for n in numbers]
                while len(self._pages) > _MOST_PAGES:
                    self._pages.popitem(last=False)
        return b"".join(found)[address - first * _PAGE :][:size]

    def gather(self, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each span; see `symbols.memory.Gathering`.

        Of a small one no more is read than was asked for, and nothing is kept.
        """
        found: list[bytes | None] = [None] * len(spans)
        small = [i for i, (_, size) in enumerate(spans) if 0 < size <= self._step // 4]
        for i, data in zip(small, self.ask([spans[i] for i in small]), strict=True):
            found[i] = data
        for i in set(range(len(spans))) - set(small):
            try:
                found[i] = self.read(*spans[i])
            except MemoryFault:
                continue
        return found

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses some vcpu can read a byte of, asked in as few stops as possible."""
        found = [False] * len(addresses)
        for attempt in range(_ATTEMPTS):
            _pause(attempt)
            found = self._readable_now(addresses)
            if any(found):
                break
        return found

    def _readable_now(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses some vcpu sees now."""
        found = [False] * len(addresses)
        for vcpu in self._stub.vcpus:
            asked = [b"Hg" + vcpu.thread, *(b"m%x,1" % address for address in addresses)]
            replies = self._stub.exchange(asked).replies[1:]
            found = [
                known or (len(reply) == 2 and not is_error(reply))
                for known, reply in zip(found, replies, strict=True)
            ]
        return found

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        with self._turn:
            self._pages.clear()

    def _fetch(self, pages: Sequence[int]) -> bool:
        """Keep some pages; whether all of them are now known."""
        missing = [page for page in pages if page not in self._pages]
        each = _PAGE // self._step
        done = 0
        while done < len(missing):
            if done:
                self._rest()
            some = missing[done:][: max(1, self._packets // each)]
            done += len(some)
            parts = [(page + at, self._step) for page in some for at in range(0, _PAGE, self._step)]
            read = self.ask(parts)
            for number, page in enumerate(some):
                pieces = [piece for piece in read[number * each :][:each] if piece is not None]
                if len(pieces) < each:
                    return False
                self._pages[page] = b"".join(pieces)
        return True

    def ask(self, parts: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each part, none longer than a packet can hold; nothing of it is kept."""
        found: list[bytes | None] = []
        while len(found) < len(parts):
            some = parts[len(found) :][: self._packets]
            if found:
                self._rest()
            try:
                found += self._exchange(some)
            except TargetError:
                return found + [None] * (len(parts) - len(found))
        return found

    def _exchange(self, parts: Sequence[tuple[int, int]]) -> list[bytes | None]:
        """The bytes of each part, each from the first vcpu that can read it."""
        found: list[bytes | None] = [None] * len(parts)
        for attempt in range(_ATTEMPTS):
            _pause(attempt)
            if self._ask_vcpus(parts, found) or self._ask_otherwise(parts, found):
                break
        return found

    def _ask_vcpus(self, parts: Sequence[tuple[int, int]], found: list[bytes | None]) -> bool:
        """Fill in what some vcpu sees now; whether what is still missing is a hole."""
        sees = False
        # A vcpu in user mode may still map the kernel's entry: where it says no, ask another.
        for number, vcpu in enumerate(self._stub.vcpus, 1):
            missing = [i for i, data in enumerate(found) if data is None]
            # What could be read before tells a vcpu that does not see the kernel from a hole.
            known = [] if self._seen is None else [(self._seen, 1)]
            asked = [*(parts[i] for i in missing), *known]
            requests = [b"Hg" + vcpu.thread, *(b"m%x,%x" % part for part in asked)]
            exchange = self._stub.exchange(requests)
            self._count(exchange.answered_ns - exchange.stopped_ns)
            chosen, *replies = exchange.replies
            if chosen != b"OK":
                continue
            read = [decoded(r, size) for r, (_, size) in zip(replies, asked, strict=True)]
            sees = sees or any(
                data is not None and self._tells(at)
                for data, (at, _) in zip(read, asked, strict=True)
            )
            for i, data in zip(missing, read, strict=False):  # the last is no part
                if data is not None:
                    found[i] = data
                    self._remember(parts[i][0])
                    self.cost.size += len(data)
            if None not in found or (sees and number >= _ENOUGH_VCPUS):
                return True
        return sees

    def _remember(self, address: int) -> None:
        """Take in that there is memory of the kernel at an address."""
        if self._tells(address):
            self._seen = address

    def _tells(self, address: int) -> bool:  # noqa: ARG002 - for those who know better
        """Whether who sees an address sees all of the kernel."""
        return True

    def _ask_otherwise(
        self,
        parts: Sequence[tuple[int, int]],  # noqa: ARG002 - for those who have a way
        found: list[bytes | None],  # noqa: ARG002 - the same
    ) -> bool:
        """Fill in what no vcpu sees; whether the kernel's memory was seen. There is no way here."""
        return False

    def _count(self, halted_ns: int) -> None:
        """Take in what a stop cost, and ask for more or less in the next one."""
        self.cost.stops += 1
        self.cost.halted_ns += halted_ns
        self._last_ns = halted_ns
        if halted_ns > _LONGEST_STOP_NS:
            self._packets = max(_FEWEST_PACKETS, self._packets // 2)
        elif halted_ns < _LONGEST_STOP_NS // 2:
            self._packets = min(_MOST_PACKETS, self._packets * 2)

    def _rest(self) -> None:
        time.sleep(min(_LONGEST_REST_S, self._last_ns / 1e9))


def decoded(reply: bytes, size: int) -> bytes | None:
    """The bytes of a reply to `m`, or None where it is none of the right size."""
    if len(reply) != 2 * size:
        return None
    try:
        return bytes.fromhex(reply.decode("ascii"))
    except ValueError:
        return None


def _pause(attempt: int) -> None:
    """Wait a little longer each time, out of step with the guest's timer."""
    if attempt:
        time.sleep(random.uniform(0, 0.004 * attempt))  # noqa: S311 - spacing, not a secret
