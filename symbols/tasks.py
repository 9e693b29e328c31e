"""Which task a vcpu runs: from its registers to the task's structure, and what that says.

The pointer to the task is where each architecture's `get_current` takes it from
(arch/*/include/asm/current.h); what it points to is described by the kernel's own types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from symbols.btf import Btf
from symbols.errors import BtfError, IntrospectionError
from symbols.memory import Memory, MemoryFault, gather
from symbols.names import printable
from symbols.structures import Record, Structures

_WRAP = 1 << 64
_HIGHEST_PID = 1 << 22  # PID_MAX_LIMIT of include/linux/threads.h
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of include/linux/sched.h
_MEMBERS = ("pid", "tgid", "comm", "flags", "mm")
#: Members no further apart are read together: a packet of the stub costs more than these bytes.
_LONGEST_PIECE = 512


@dataclass(frozen=True, slots=True)
class Task:
    """A thread, as the kernel has it.

    Attributes:
        address: of its `struct task_struct`.
        pid: what the kernel calls so: a number for each thread; 0 for the idle task.
        tgid: number of the process.
        comm: its name, 15 bytes at most; safe to show.
        kernel_thread: it has no user space.
        mm: address of the `struct mm_struct` that describes its user space; 0 where it has none.
    """

    address: int
    pid: int
    tgid: int
    comm: str
    kernel_thread: bool
    mm: int = 0

    @property
    def idle(self) -> bool:
        """The task of a vcpu that has nothing to do."""
        return self.pid == 0


class Tasks:
    """Reads tasks by the address of their structure, as they are now.

    Args:
        structures: the guest's memory and types.

    Raises:
        BtfError: the kernel's types do not tell where a task has its number and name.

    Attributes:
        pieces: what is read of a structure: offset and size of each piece, ascending.
    """

    def __init__(self, structures: Structures) -> None:
        self._structures = structures
        if not structures.has("task_struct", "comm"):
            raise BtfError(
                "how tasks are kept is described nowhere, or as if the kernel did not shuffle its "
                "structures (CONFIG_RANDSTRUCT, with GCC)",
                "Give the kernel's vmlinux; one that shuffles its structures is built with clang.",
            )
        places = sorted(
            (member.offset, member.offset + length)
            for member, length in (structures.member("task_struct", name) for name in _MEMBERS)
        )
        pieces: list[tuple[int, int]] = []
        for start, end in places:
            if pieces and end - pieces[-1][0] <= _LONGEST_PIECE:
                pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
            else:
                pieces.append((start, end))
        if pieces[-1][1] > structures.size("task_struct"):
            raise BtfError("the kernel's types place a task's members outside of it")
        self.pieces = tuple((start, end - start) for start, end in pieces)

    def at(self, address: int) -> Task | None:
        """The task whose structure is at an address; None where there is none."""
        return self.read([address])[0]

    def read(self, addresses: Sequence[int]) -> list[Task | None]:
        """The tasks at some addresses, read together; None where there is none.

        A pointer read while a vcpu enters or leaves the kernel may be something else: what it
        points to must look like a task.
        """
        spans = [
            ((address + offset) % _WRAP, size)
            for address in addresses
            for offset, size in self.pieces
        ]
        found = gather(self._structures.memory, spans)
        each = len(self.pieces)
        return [
            self.of(address, found[i * each : (i + 1) * each])
            for i, address in enumerate(addresses)
        ]

    def of(self, address: int, pieces: Sequence[bytes | None]) -> Task | None:
        """The task in the bytes of `pieces`, read elsewhere; None where they are no task."""
        offset, size = self.pieces[-1]
        data = bytearray(offset + size)
        for (start, length), piece in zip(self.pieces, pieces, strict=True):
            if piece is None or len(piece) != length:
                return None
            data[start : start + length] = piece
        return self.in_record(Record(self._structures, "task_struct", address, bytes(data)))

    def in_record(self, record: Record) -> Task | None:
        """The task in its structure, read elsewhere; None where it is no task."""
        try:
            pid, tgid = record.number("pid"), record.number("tgid")
            comm, flags = record.bytes("comm"), record.number("flags")
            mm = record.number("mm")
        except (BtfError, IntrospectionError):
            return None
        name, end, _ = comm.partition(b"\0")
        if not name or not end or pid > _HIGHEST_PID or tgid > _HIGHEST_PID or (pid and not tgid):
            return None
        kernel_thread = bool(flags & _KERNEL_THREAD)
        return Task(record.address, pid, tgid, printable(name), kernel_thread, mm)


@dataclass(frozen=True, slots=True)
class CurrentPlaces:
    """Where a kernel keeps the pointer to the current task; what it has none of is None.

    Attributes:
        per_cpu: x86-64: of the pointer, as an address in the per-cpu area.
        entry_task: aarch64: of the per-cpu `__entry_task`, which is right in user mode too.
        lowcore: s390x: offset of the pointer in the lowcore.
        little_endian: byte order of the pointer.
        per_cpu_offsets: of the array that tells where each cpu has data of its own: on x86-64
            and aarch64 `__per_cpu_offset`, what is added to an address in the per-cpu area; on
            s390x `lowcore_ptr`, the address of its lowcore.
    """

    per_cpu: int | None = None
    entry_task: int | None = None
    lowcore: int | None = None
    little_endian: bool = True
    per_cpu_offsets: int | None = None

    @classmethod
    def of(cls, address_of: Callable[[str], int | None], btf: Btf | None) -> CurrentPlaces:
        """The places of a kernel.

        Args:
            address_of: runtime address of a symbol. That of a per-cpu symbol below the kernel
                (x86-64 before Linux 6.15) has no slide added.
            btf: the kernel's types, where known.
        """
        hot = address_of("pcpu_hot")
        per_cpu = address_of("current_task")
        if hot is not None:
            # Linux 6.2 to 6.14; the pointer is the first member.
            member = btf.member("pcpu_hot", "current_task") if btf is not None else None
            per_cpu = (hot + (member.offset if member is not None else 0)) % _WRAP
        lowcore = btf.member("lowcore", "current_task") if btf is not None else None
        return cls(
            per_cpu,
            address_of("__entry_task"),
            lowcore.offset if lowcore is not None else None,
            btf.little_endian if btf is not None else True,
            address_of("__per_cpu_offset" if lowcore is None else "lowcore_ptr"),
        )

    def in_own_data(self, architecture: str) -> int | None:
        """Where the pointer is, counted from what `per_cpu_offsets` says; None where unknown."""
        if architecture == "s390x":
            return self.lowcore
        return self.per_cpu if architecture == "x86_64" else self.entry_task


def current_task(
    architecture: str,
    registers: Mapping[str, int],
    memory: Memory,
    places: CurrentPlaces,
    *,
    user: bool,
) -> int | None:
    """Address of the structure of the task that a vcpu runs; None where it cannot be told.

    Args:
        architecture: as the kernel names it.
        registers: of the vcpu, by the names that QEMU's stub gives them.
        memory: the guest's, in the kernel's view. Of s390x physical where `registers` has a
            prefix, else as this vcpu sees it: what others see at the same address is theirs.
        places: of the guest's kernel.
        user: the vcpu is in user mode.
    """
    find = _BY_ARCHITECTURE.get(architecture)
    if find is None:
        return None
    try:
        pointer = find(registers, memory, places, user)
    except MemoryFault:
        return None
    return pointer or None


def _x86_64(
    registers: Mapping[str, int], memory: Memory, places: CurrentPlaces, user: bool
) -> int | None:
    # `swapgs` exchanges the two on the way in and out; the kernel's is the one above. A program
    # may set its own to anything (FSGSBASE).
    bases = [registers.get("gs_base", 0), registers.get("k_gs_base", 0)]
    if user:
        bases.reverse()
    base = next((base for base in bases if base >> 63), None)
    if base is None or places.per_cpu is None:
        return None
    return _kernel(_pointer(memory, base + places.per_cpu, places))


def _aarch64(
    registers: Mapping[str, int], memory: Memory, places: CurrentPlaces, user: bool
) -> int | None:
    # In the kernel SP_EL0 is the task, but for the first instructions after entering it.
    pointer = _kernel(registers.get("SP_EL0", 0))
    if pointer is not None and not user:
        return pointer
    base = registers.get("TPIDR_EL1") or registers.get("TPIDR_EL2")
    if base is None or places.entry_task is None:
        return None
    return _kernel(_pointer(memory, base + places.entry_task, places))


def _s390x(
    registers: Mapping[str, int], memory: Memory, places: CurrentPlaces, user: bool
) -> int | None:
    if places.lowcore is None:
        return None
    prefix = registers.get("prefix")
    if prefix is not None:
        return _pointer(memory, prefix + places.lowcore, places)
    # At 0 the hardware shows each vcpu its own lowcore (prefixing, z/Architecture Principles of
    # Operation), which Linux maps there for the kernel, but not for programs.
    return None if user else _pointer(memory, places.lowcore, places)


def _riscv64(
    registers: Mapping[str, int], _memory: Memory, _places: CurrentPlaces, user: bool
) -> int | None:
    # The two are exchanged on the way in; in the kernel sscratch is 0.
    return _kernel(registers.get("sscratch" if user else "tp", 0))


def _kernel(pointer: int) -> int | None:
    return pointer if pointer >> 63 else None


def _pointer(memory: Memory, address: int, places: CurrentPlaces) -> int:
    order: Literal["little", "big"] = "little" if places.little_endian else "big"
    return int.from_bytes(memory.read(address % _WRAP, 8), order)


_Find = Callable[[Mapping[str, int], Memory, CurrentPlaces, bool], int | None]
_BY_ARCHITECTURE: dict[str, _Find] = {
    "x86_64": _x86_64,
    "aarch64": _aarch64,
    "s390x": _s390x,
    "riscv64": _riscv64,
}
