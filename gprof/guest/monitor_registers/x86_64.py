"""x86-64, from the reset vector to user space (target/i386/cpu-dump.c)."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.mode import Mode
from gprof.guest.monitor_registers.values import Reading, hexadecimal, word
from symbols.paging import NoTables, PageTables, x86_tables
from symbols.unwinding.stack import Registers

#: A segment, as `CS =f000 ffff0000 0000ffff 00009b00`: selector, base, limit, flags.
_BASE = r"\s*=[0-9a-f]{1,4} ([0-9a-f]{1,16})(?!\w)"
#: A table, as `IDT=     fffffe0000000000 00000fff`: base, limit.
_TABLE_BASE, _TABLE_LIMIT = r"=\s+([0-9a-f]{1,16}) ", r"=\s+[0-9a-f]{1,16} ([0-9a-f]{8})(?!\w)"
#: In the order of their numbers (Intel SDM volume 2, 2.1).
GENERAL = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
PATTERNS = {
    # Named by the width of the code that runs; the register itself is 64 bits wide.
    "pc": hexadecimal("[RE]IP"),
    **{name: hexadecimal(name.upper()) for name in GENERAL},
    "cr0": hexadecimal("CR0"),
    "cr3": hexadecimal("CR3"),
    "cr4": hexadecimal("CR4"),
    "code base": word("CS", _BASE),
    "gs base": word("GS", _BASE),
    "gdt base": word("GDT", _TABLE_BASE),
    "gdt limit": word("GDT", _TABLE_LIMIT),
    "idt base": word("IDT", _TABLE_BASE),
    "idt limit": word("IDT", _TABLE_LIMIT),
    "level": word("CPL", r"=([0-3])(?!\w)"),
    "halted": word("HLT", r"=([01])(?!\w)"),
    "management": word("SMM", r"=([01])(?!\w)"),
}
#: Those that an ORC rule may count from.
_OTHERS = ("rax", "rdx", "rdi", "r10", "r13")

_CR0_PROTECTED = 1 << 0
_CR0_PAGING = 1 << 31
_USER = 3


def state(read: Reading) -> VcpuState | None:
    """Where a vcpu stands; None where the registers do not tell."""
    pc, cr0, level = read("pc"), read("cr0"), read("level")
    if pc is None or cr0 is None or level is None:
        return None
    if not cr0 & _CR0_PROTECTED:
        base = read("code base")
        if base is None:
            return None
        return VcpuState((base + (pc & 0xFFFF)) % (1 << 64), Mode.FIRMWARE)
    if read("halted"):
        return VcpuState(pc, Mode.IDLE)
    if not cr0 & _CR0_PAGING:
        # Firmware runs code of 16 bits in segments of its own: SeaBIOS at 0xf0000.
        return VcpuState(((read("code base") or 0) + pc) % (1 << 32), Mode.FIRMWARE)
    if read("management"):
        return VcpuState(pc, Mode.FIRMWARE)
    return VcpuState(pc, Mode.USER if level == _USER else Mode.KERNEL)


def unwinding(read: Reading) -> Registers | None:
    """What a stack is unwound from; None where the registers do not tell."""
    pc, sp, fp = read("pc"), read("rsp"), read("rbp")
    if pc is None or sp is None or fp is None:
        return None
    others = {name: read(name) for name in _OTHERS}
    return Registers(pc, sp, fp, {name: one for name, one in others.items() if one is not None})


def tables(read: Reading) -> list[PageTables]:
    """The roots of the page tables that a vcpu uses: of none, where it does not translate."""
    if (read("cr0") or 0) & _CR0_PAGING == 0:
        return [NoTables()]
    root, control = read("cr3"), read("cr4")
    return list(x86_tables(root, control)) if root and control is not None else []
