"""Which task each vcpu runs, seen in QEMU's own memory while the guest runs on.

The kernel keeps the pointer to the task among the data of each cpu, at the same physical place
from boot on: one read of eight bytes, which costs a microsecond and the guest nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from symbols.memory import Memory, MemoryFault, gather
from symbols.paging import PagedMemory, PageTables
from symbols.tasks import CurrentPlaces

_WRAP = 1 << 64
_POINTER = 8
_MOST_CPUS = 4096
#: How long it is waited after a kernel gave no sense, as one that boots.
_RETRY_S = 1.0


class WatchedTasks:
    """The tasks of all vcpus.

    Args:
        architecture: of the guest, as the kernel names it.
        places: of its kernel.
        vcpus: indices; Linux counts its cpus in the same order, unless a base says otherwise.
        virtual: the kernel's memory, always as it is now.
        physical: the guest's RAM.
    """

    def __init__(
        self,
        architecture: str,
        places: CurrentPlaces,
        vcpus: Sequence[int],
        virtual: Memory,
        physical: Memory,
    ) -> None:
        self._places = places
        self._place = places.in_own_data(architecture)
        self._lowest = 1 if architecture == "s390x" else 1 << 63  # address of the kernel's
        self._cpu_of = {vcpu: vcpu for vcpu in vcpus}
        self._virtual = virtual
        self._physical = physical
        self._bases: list[int] = []  # of each cpu's own data
        self._words: dict[int, int] = {}  # by cpu, the physical place of the pointer
        self._retry = 0.0

    def must_learn(self) -> bool:
        """Whether it is not known where to look, and time to learn that."""
        return not self._words and time.monotonic() >= self._retry

    def learn(self, tables: Sequence[PageTables]) -> None:
        """Find out where to look.

        Args:
            tables: roots of page tables that the vcpus use now.
        """
        self._retry = time.monotonic() + _RETRY_S
        if self._place is None or self._places.per_cpu_offsets is None:
            return
        count = min(max(self._cpu_of, default=-1) + 1, _MOST_CPUS)
        data = gather(self._virtual, [(self._places.per_cpu_offsets, _POINTER * count)])[0]
        if data is None:
            return
        self._bases = [self._number(data[at : at + 8]) for at in range(0, len(data), _POINTER)]
        paged = PagedMemory(self._physical, *tables)
        for cpu, base in enumerate(self._bases):
            try:
                at = paged.translate((base + self._place) % _WRAP)
            except MemoryFault:
                continue
            if at.left >= _POINTER:
                self._words[cpu] = at.address

    def forget(self) -> None:
        """Drop what was learnt, as after a reset."""
        self._words = {}
        self._bases = []

    def seen_base(self, vcpu: int, base: int) -> None:
        """A register of a vcpu, seen where it held the base of the cpu's own data."""
        if base in self._bases:
            self._cpu_of[vcpu] = self._bases.index(base)

    def read(self) -> Mapping[int, int]:
        """Address of the structure of each vcpu's task; a vcpu is missing where it is unknown."""
        found = {}
        for vcpu, cpu in self._cpu_of.items():
            at = self._words.get(cpu)
            if at is None:
                continue
            try:
                pointer = self._number(self._physical.read(at, _POINTER))
            except MemoryFault:
                continue
            if pointer >= self._lowest:
                found[vcpu] = pointer
        return found

    def _number(self, data: bytes) -> int:
        return int.from_bytes(data, "little" if self._places.little_endian else "big")
