"""The registers of the vcpus in a dump, by the names that QEMU's stub gives them.

Formats: target/i386/arch_dump.c of QEMU 7.2 for `QEMUCPUState`, a note of QEMU's own; for the
others target/{arm,riscv,s390x}/arch_dump.c, whose notes are those of a process's core: the kernel's
`struct elf_prstatus` with `struct user_pt_regs` of aarch64, `user_regs_struct` of riscv64 and
`s390_regs` of s390x, then NT_S390_CTRS and NT_S390_PREFIX.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from gprof.guest.core_file import CoreFile, CoreNote

_MOST_VCPUS = 4096

_NT_PRSTATUS = 1
_NT_S390_CTRS = 0x304
_NT_S390_PREFIX = 0x305
#: Of the registers in `struct elf_prstatus` of 64 bits.
_REGISTERS_AT = 112

#: QEMUCPUState of x86-64: version and size, then these words, segments, and control registers.
_GENERAL = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
    *(f"r{number}" for number in range(8, 16)), "rip", "eflags",
)  # fmt: skip
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
_CONTROL = ("cr0", "cr1", "cr2", "cr3", "cr4")
_SEGMENT = struct.Struct("<IIIIQ")

#: The words of `pr_reg`, in their order.
_IN_PRSTATUS = {
    "aarch64": (*(f"x{number}" for number in range(31)), "sp", "pc", "cpsr"),
    "riscv64": (
        *("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1"),
        *(f"a{number}" for number in range(8)),
        *(f"s{number}" for number in range(2, 12)),
        *(f"t{number}" for number in range(3, 7)),
    ),
    "s390x": ("pswm", "pswa", *(f"r{number}" for number in range(16))),
}


@dataclass(frozen=True, slots=True)
class CoreVcpu:
    """A vcpu in a dump.

    Attributes:
        index: its number, from 0.
        registers: by the names that QEMU's stub gives them; bases of segments as `gs_base`.
    """

    index: int
    registers: dict[str, int]


def vcpus_of(core: CoreFile) -> tuple[CoreVcpu, ...]:
    """The vcpus of a dump, by index; registers that a note is too short for are missing.

    Raises:
        FormatError: it has the registers of none.
    """
    if core.architecture == "x86_64":
        found = [_x86_64(note.content) for note in core.notes if note.owner == b"QEMU"]
    else:
        found = []
        for note in core.notes:
            # What belongs to a vcpu follows its general registers.
            if note.owner == b"CORE" and note.kind == _NT_PRSTATUS:
                names = _IN_PRSTATUS[core.architecture]
                found.append(_words(core, note.content[_REGISTERS_AT:], names))
            elif found and note.owner == b"LINUX":
                found[-1] |= _of_s390x(core, note)
    if not found:
        raise core.damaged("has no registers of QEMU's vcpus")
    return tuple(CoreVcpu(i, registers) for i, registers in enumerate(found[:_MOST_VCPUS]))


def _words(core: CoreFile, content: bytes, names: Sequence[str]) -> dict[str, int]:
    """Words of 64 bits, as many as there are."""
    whole = range(0, len(content) - 7, 8)
    return {
        name: int.from_bytes(content[at : at + 8], core.order)
        for name, at in zip(names, whole, strict=False)
    }


def _of_s390x(core: CoreFile, note: CoreNote) -> dict[str, int]:
    if note.kind == _NT_S390_CTRS:
        return _words(core, note.content, [f"cr{number}" for number in range(16)])
    if note.kind == _NT_S390_PREFIX and len(note.content) >= 4:
        return {"prefix": int.from_bytes(note.content[:4], core.order)}
    return {}


def _x86_64(note: bytes) -> dict[str, int]:
    found: dict[str, int] = {}

    def words(at: int, names: Sequence[str]) -> int:
        end = at + 8 * len(names)
        if len(note) >= end:
            found.update(zip(names, struct.unpack_from(f"<{len(names)}Q", note, at), strict=True))
        return end

    at = words(8, _GENERAL)
    for name in _SEGMENTS:
        if len(note) >= at + _SEGMENT.size:
            selector, _, _, _, base = _SEGMENT.unpack_from(note, at)
            found.update({name: selector, f"{name}_base": base})
        at += _SEGMENT.size
    words(words(at, _CONTROL), ["k_gs_base"])
    return found
