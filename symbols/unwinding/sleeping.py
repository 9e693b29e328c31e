"""The registers of a task that does not run: where its kernel has put them to sleep.

Who switches tasks saves what a function must preserve, and no more: struct inactive_task_frame
of arch/x86/include/asm/switch_to.h, `cpu_context` of arch/arm64/include/asm/processor.h, `ra`,
`sp` and `s` of arch/riscv/include/asm/processor.h, `ksp` and the frame that __switch_to of
arch/s390/kernel/entry.S leaves above it.
"""

from __future__ import annotations

from collections.abc import Callable

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import MemoryFault
from symbols.structures import Record, Structures
from symbols.unwinding.stack import Registers

_WRAP = 1 << 64
#: In an s390x frame: the registers 6 to 15 lie from here on (-mpacked-stack, -mbackchain).
_S390X_SAVED = 72
_S390X_LINK = _S390X_SAVED + 8 * (14 - 6)
_S390X_POINTER = _S390X_SAVED + 8 * (15 - 6)


def sleeping_registers(architecture: str, structures: Structures, task: Record) -> Registers | None:
    """What a task's stack is unwound from; its pc is a return address.

    Args:
        architecture: as the kernel names it.
        structures: the guest's memory and types.
        task: its `task_struct`.

    Returns:
        None where its stack cannot be read, or this architecture's way is not known.

    Raises:
        BtfError: the kernel's types do not tell where it saves them.
    """
    find = _BY_ARCHITECTURE.get(architecture)
    if find is None:
        return None
    try:
        return find(structures, task)
    except (MemoryFault, IntrospectionError):
        return None


def _x86_64(structures: Structures, task: Record) -> Registers:
    sp = task.number("thread.sp")
    frame = structures.at(sp, "inactive_task_frame")
    return Registers(
        frame.number("ret_addr"),
        (sp + structures.size("inactive_task_frame")) % _WRAP,
        frame.number("bp"),
        {"r13": frame.number("r13")},
    )


def _aarch64(_structures: Structures, task: Record) -> Registers:
    pc, sp, fp = (task.number(f"thread.cpu_context.{name}") for name in ("pc", "sp", "fp"))
    return Registers(pc, sp, fp, {"link": pc})


def _riscv64(_structures: Structures, task: Record) -> Registers:
    pc = task.number("thread.ra")
    return Registers(pc, task.number("thread.sp"), task.number("thread.s"), {"link": pc})


def _s390x(structures: Structures, task: Record) -> Registers:
    ksp = task.number("thread.ksp")
    sp = structures.pointer(ksp + _S390X_POINTER)
    return Registers(structures.pointer(ksp + _S390X_LINK), sp, sp)


_BY_ARCHITECTURE: dict[str, Callable[[Structures, Record], Registers]] = {
    "x86_64": _x86_64,
    "aarch64": _aarch64,
    "riscv64": _riscv64,
    "s390x": _s390x,
}


def knows_sleepers(architecture: str, structures: Structures) -> str:
    """Why the registers of sleeping tasks cannot be found; empty where they can."""
    needed = {
        "x86_64": (("task_struct", "thread.sp"), ("inactive_task_frame", "ret_addr")),
        "aarch64": (("task_struct", "thread.cpu_context.pc"),),
        "riscv64": (("task_struct", "thread.ra"),),
        "s390x": (("task_struct", "thread.ksp"),),
    }.get(architecture)
    if needed is None:
        return f"where {architecture} puts the registers of sleeping tasks is not known"
    try:
        for structure, path in needed:
            structures.member(structure, path)
    except BtfError as missing:
        return missing.problem
    return ""
