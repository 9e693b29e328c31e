"""x86-64 as QEMU's stub shows it, from the reset vector to user space."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.memory import Memory, MemoryFault
from symbols.unwinding.stack import Registers

_CR0_PROTECTED = 1 << 0
_CR0_PAGING = 1 << 31
_STACK = 1 << 14  # THREAD_SIZE and IRQ_STACK_SIZE (arch/x86/include/asm/page_64_types.h)
_KERNEL = 0xFFFF_8000_0000_0000
#: Those that an ORC rule may count from.
_OTHERS = ("rax", "rdx", "rdi", "r10", "r13")
_USER = 3  # current privilege level: the low bits of cs


@dataclass(frozen=True, slots=True)
class X86_64:  # noqa: N801 - the architecture's own name
    """See `Architecture`. Register names: target/i386/gdbstub.c of QEMU 7.2."""

    name: str = "x86_64"
    # Canonical addresses of the upper half, four or five levels of page tables alike.
    kernel_half: tuple[int, int] = (0xFF00_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF)
    general: tuple[str, ...] = (
        *("rip", "rsp", "rbp", "rax", "rbx", "rcx", "rdx", "rsi", "rdi"),
        *(f"r{number}" for number in range(8, 16)),
        *("eflags", "cs", "ss", "cr2", "cr3"),
    )
    # Gate 0 of the interrupt table; the first name since Linux 5.8.
    vector_symbols: tuple[str, ...] = ("asm_exc_divide_error", "divide_error")

    def vector(self, probe: Probe) -> int | None:
        """The handler in gate 0 of the interrupt table, whose base only the monitor tells."""
        table = re.search(r"IDT=\s*([0-9a-fA-F]{1,16})\s", probe.monitor("info registers"))
        return first_handler(probe.memory, int(table[1], 16)) if table is not None else None

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`; see `Architecture.state`."""
        pc = registers.value("rip", reply)
        cs = registers.value("cs", reply)
        if pc is None or cs is None:
            raise ProtocolError(
                f"the stub's registers of {len(reply) // 2} bytes have no rip or cs"
            )
        cr0 = registers.value("cr0", reply)
        if cr0 is not None and not cr0 & _CR0_PROTECTED:
            # Real mode: the segment is part of the address. Right after reset its base is not
            # sixteen times its selector; the first far jump makes it so.
            return VcpuState((cs << 4) + (pc & 0xFFFF), Mode.FIRMWARE)
        if halted:
            return VcpuState(pc, Mode.IDLE)
        if cr0 is not None and not cr0 & _CR0_PAGING:
            return VcpuState(pc, Mode.FIRMWARE)
        return VcpuState(pc, Mode.USER if cs & 3 == _USER else Mode.KERNEL)

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        cs = registers.value("cs", reply)
        return registers.value("rsp", reply) if cs is not None and cs & 3 != _USER else None

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`."""
        pc, sp, fp = (registers.value(name, reply) for name in ("rip", "rsp", "rbp"))
        if pc is None or sp is None or fp is None:
            return None
        others = {name: registers.value(name, reply) for name in _OTHERS}
        return Registers(pc, sp, fp, {n: value for n, value in others.items() if value is not None})

    def other_stack(self, _fp: int, start: int, chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`.

        Who switches to an interrupt stack leaves his stack pointer in its uppermost word
        (arch/x86/include/asm/irq_stack.h); behind that nothing is mapped. On a task's stack there
        lies the stack segment of user space, or nothing: neither looks like an address.
        """
        top = start + len(chunk)
        there = int.from_bytes(chunk[-8:], "little")
        if top & 0xFFF or there < _KERNEL or there & 7 or top - _STACK <= there < top:
            return None
        return there


def first_handler(memory: Memory, table: int) -> int | None:
    """The handler in gate 0 of an interrupt table; None where there is none.

    Gate format: Intel SDM volume 3, 64-bit interrupt gate descriptor.
    """
    try:
        gate = memory.read(table, 16)
    except MemoryFault:
        return None
    handler = gate[0:2] + gate[6:8] + gate[8:12]
    return int.from_bytes(handler, "little") or None
