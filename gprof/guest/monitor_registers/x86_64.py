"""x86-64, from the reset vector to user space (target/i386/cpu-dump.c)."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.mode import Mode
from gprof.guest.monitor_registers.values import hexadecimal, value, word
from symbols.unwinding.stack import Registers

#: Named by the width of the code that runs; the register itself is 64 bits wide.
_PC = hexadecimal("[RE]IP")
_CR0 = hexadecimal("CR0")
#: `CS =f000 ffff0000 0000ffff 00009b00`: selector, base, limit, flags.
_CODE_BASE = word("CS", r"\s*=[0-9a-f]{1,4} ([0-9a-f]{1,16})(?!\w)")
_LEVEL = word("CPL", r"=([0-3])(?!\w)")
_HALTED = word("HLT=1", r"(?!\w)")
_MANAGEMENT = word("SMM=1", r"(?!\w)")

#: Those that unwinding starts from, and those that an ORC rule may count from.
_STACK_POINTER, _FRAME_POINTER = hexadecimal("RSP"), hexadecimal("RBP")
_OTHERS = {
    name: hexadecimal(said)
    for name, said in (
        ("rax", "RAX"), ("rdx", "RDX"), ("rdi", "RDI"), ("r10", "R10"), ("r13", "R13"),
    )
}  # fmt: skip

_CR0_PROTECTED = 1 << 0
_CR0_PAGING = 1 << 31
_USER = "3"


def state(block: str) -> VcpuState | None:
    """Where a vcpu stands; None where the text does not tell."""
    pc, cr0 = value(_PC, block), value(_CR0, block)
    level = _LEVEL.search(block)
    if pc is None or cr0 is None or level is None:
        return None
    if not cr0 & _CR0_PROTECTED:
        base = value(_CODE_BASE, block)
        if base is None:
            return None
        return VcpuState((base + (pc & 0xFFFF)) % (1 << 64), Mode.FIRMWARE)
    if _HALTED.search(block):
        return VcpuState(pc, Mode.IDLE)
    if not cr0 & _CR0_PAGING:
        # Firmware runs code of 16 bits in segments of its own: SeaBIOS at 0xf0000.
        return VcpuState(((value(_CODE_BASE, block) or 0) + pc) % (1 << 32), Mode.FIRMWARE)
    if _MANAGEMENT.search(block):
        return VcpuState(pc, Mode.FIRMWARE)
    return VcpuState(pc, Mode.USER if level[1] == _USER else Mode.KERNEL)


def unwinding(block: str) -> Registers | None:
    """The registers that a stack is unwound from; None where the text does not tell."""
    pc = value(_PC, block)
    sp, fp = value(_STACK_POINTER, block), value(_FRAME_POINTER, block)
    if pc is None or sp is None or fp is None:
        return None
    others = {name: value(pattern, block) for name, pattern in _OTHERS.items()}
    return Registers(pc, sp, fp, {name: one for name, one in others.items() if one is not None})
