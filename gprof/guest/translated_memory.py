"""The guest kernel's memory, read through the stub whatever the vcpus run.

The stub reads as a vcpu does. On s390x one that runs a program has another space of addresses
altogether: what the kernel has at an address, the program has something else at. On riscv64 one
that runs firmware does without the kernel's tables (OpenSBI, in machine mode) and sees nothing of
it, and all vcpus may do so for long. On aarch64 one that runs a program sees nothing either,
where the kernel hides itself. So the kernel's page tables are walked here, and the stub is
asked for physical memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from gprof.guest.gdbstub import Stub
from gprof.guest.memory import ReadingCost, StubMemory, decoded
from symbols.memory import MemoryFault
from symbols.paging import Mapped, NoTables, PageTables

#: Answered with `OK`; what is read from then on is physical (docs/system/gdb.rst of QEMU).
PHYSICAL, VIRTUAL = b"Qqemu.PhyMemMode:1", b"Qqemu.PhyMemMode:0"
#: Where the tables have no place for an address, their root is asked for again, but no sooner.
_ROOT_LIFETIME_S = 0.05
#: So long what was read of tables holds, while they are those that the kernel runs on.
_TABLES_LIFETIME_S = 0.05


class PhysicalMemory(StubMemory):
    """The guest's physical memory through `m` packets; where there is none, QEMU reads zeros."""

    def _exchange(self, parts: Sequence[tuple[int, int]]) -> list[bytes | None]:
        asked = [PHYSICAL, *(b"m%x,%x" % part for part in parts), VIRTUAL]
        exchange = self._stub.exchange(asked)
        self._count(exchange.answered_ns - exchange.stopped_ns)
        chosen, *replies, _ = exchange.replies
        if chosen != b"OK":
            return [None] * len(parts)
        found = [decoded(reply, size) for reply, (_, size) in zip(replies, parts, strict=True)]
        self.cost.size += sum(len(data) for data in found if data is not None)
        return found


class TranslatedMemory(StubMemory):
    """The kernel's virtual memory.

    Args:
        stub: of the guest.
        root: tells the kernel's page tables; None where there are none to be known.
        cost: what reading is added to; by itself where none is given.
    """

    def __init__(
        self,
        stub: Stub,
        root: Callable[[], PageTables | None],
        cost: ReadingCost | None = None,
    ) -> None:
        super().__init__(stub)
        self.cost = cost or self.cost
        self._root = root
        self._tables: PageTables | None = None
        self._root_end = 0.0
        self._physical = PhysicalMemory(stub)
        self._physical.cost = self.cost

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses the kernel has memory at."""
        return [self.physical_address(address) is not None for address in addresses]

    def physical_address(self, address: int) -> int | None:
        """Where an address of the kernel leads; None where it leads nowhere."""
        place = self._places(address, 1)
        return place[0][0] if place else None

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        super().forget()
        self._physical.forget()
        self._tables = None
        self._root_end = 0.0

    def _exchange(self, parts: Sequence[tuple[int, int]]) -> list[bytes | None]:
        places = [self._places(*part) for part in parts]
        read = iter(self._physical.ask([place for each in places for place in each]))
        found: list[bytes | None] = []
        for each in places:
            pieces = [next(read) for _ in each]
            whole = b"".join(piece for piece in pieces if piece is not None)
            found.append(whole if pieces and None not in pieces else None)
        return found

    def _places(self, address: int, size: int) -> list[tuple[int, int]]:
        """Physical address and size of each piece of a part; nothing where it is not all there."""
        places: list[tuple[int, int]] = []
        done = 0
        while done < size:
            at = self._translated(address + done)
            if at is None:
                return []
            places.append((at.address, min(at.left, size - done)))
            done += places[-1][1]
        return places

    def _translated(self, address: int) -> Mapped | None:
        at = self._walk(address)
        # What runs without tables now may have some later.
        doubtful = at is None or isinstance(self._tables, NoTables)
        if doubtful and time.monotonic() >= self._root_end:
            self._tables = self._root()
            self._physical.forget()
            self._root_end = time.monotonic() + _ROOT_LIFETIME_S
            at = self._walk(address)
        return at

    def _walk(self, address: int) -> Mapped | None:
        if self._tables is None:
            return None
        try:
            return self._tables.walk(self._physical, address)
        except MemoryFault:
            return None


class HideableMemory(StubMemory):
    """The kernel's virtual memory where a vcpu sees it, else by the kernel's page tables.

    Args:
        stub: of the guest.
        root: tells the kernel's page tables; None where there are none to be known.
        always: tells whether a vcpu that sees nothing else of the kernel sees an address.
    """

    def __init__(
        self,
        stub: Stub,
        root: Callable[[], PageTables | None],
        always: Callable[[int], bool] = lambda _: False,
    ) -> None:
        super().__init__(stub)
        self._root = root
        self._always = always
        self._kept: TranslatedMemory | None = None
        self._tables: PageTables | None = None
        self._kept_end = 0.0

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        super().forget()
        self._kept = None

    def _tells(self, address: int) -> bool:
        return not self._always(address)

    def _readable_now(self, addresses: Sequence[int]) -> list[bool]:
        found = super()._readable_now(addresses)
        return found if any(found) else self._walked().readable(addresses)

    def _ask_otherwise(self, parts: Sequence[tuple[int, int]], found: list[bytes | None]) -> bool:
        missing = [i for i, data in enumerate(found) if data is None]
        walked = self._walked()
        for i, data in zip(missing, walked.ask([parts[i] for i in missing]), strict=True):
            if data is not None:
                found[i] = data
                self._remember(parts[i][0])
        # Tables that lead where something was read before are those of the kernel, with holes.
        return self._seen is not None and walked.physical_address(self._seen) is not None

    def _walked(self) -> TranslatedMemory:
        """The same memory by the kernel's tables, learned anew when they are others or old.

        They are a process's and end with it: so a vcpu must have them still. That is asked in one
        stop, where to learn them takes one for each level.
        """
        tables = self._root()
        kept, now = self._kept, time.monotonic()
        if kept is None or tables != self._tables or now >= self._kept_end:
            kept = TranslatedMemory(self._stub, lambda: tables, self.cost)
            self._kept, self._tables, self._kept_end = kept, tables, now + _TABLES_LIFETIME_S
        return kept
