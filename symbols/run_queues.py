"""Which task each cpu runs, by the scheduler's own queues.

Every cpu has a `struct rq` among its own data, whose `curr` is what it runs (kernel/sched/sched.h
of Linux 6.12). Unlike what tells it fastest (`symbols.tasks`), this needs no register; it is behind
for the few instructions of a change of tasks.
"""

from __future__ import annotations

from collections.abc import Callable

from symbols.errors import BtfError
from symbols.memory import MemoryFault
from symbols.structures import Structures

_WRAP = 1 << 64
_POINTER = 8
_MOST_CPUS = 4096


class RunQueues:
    """The queues of a kernel.

    Args:
        structures: of the kernel.
        address_of: runtime address of a symbol; see `symbols.tasks.CurrentPlaces.of`.
    """

    def __init__(self, structures: Structures, address_of: Callable[[str], int | None]) -> None:
        self._structures = structures
        self._queues = address_of("runqueues")
        self._offsets = address_of("__per_cpu_offset")
        #: riscv64: the number that the hardware gives each cpu (arch/riscv/kernel/smp.c): any of
        #: them may be the first to boot, and is cpu 0 then.
        self._harts = address_of("__cpuid_to_hartid_map")

    def current(self, vcpu: int) -> int | None:
        """Address of the structure of the task that a vcpu runs; None where it cannot be told.

        Args:
            vcpu: its number in QEMU; Linux counts its cpus alike but on riscv64.
        """
        if self._queues is None or self._offsets is None:
            return None
        try:
            member, _ = self._structures.member("rq", "curr")
            cpu = self._cpu(vcpu)
            if cpu is None:
                return None
            base = self._structures.pointer(self._offsets + _POINTER * cpu)
            pointer = self._structures.pointer(base + self._queues + member.offset)
        except (MemoryFault, BtfError):
            return None
        return pointer or None

    def _cpu(self, vcpu: int) -> int | None:
        if self._harts is None:
            return vcpu
        harts = (
            self._structures.pointer(self._harts + _POINTER * cpu) for cpu in range(_MOST_CPUS)
        )
        return next((cpu for cpu, hart in enumerate(harts) if hart == vcpu), None)
