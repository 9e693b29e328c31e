"""s390x as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.unwinding.stack import Registers

# Bits of the program status word, counted from the left in z/Architecture Principles of Operation.
_TRANSLATED = 1 << (63 - 5)
_WAIT = 1 << (63 - 14)
_PROBLEM_STATE = 1 << (63 - 15)


def state_of(mask: int, address: int) -> VcpuState:
    """What the two halves of a program status word say."""
    # A vcpu that was never started has a word of zeros.
    if mask & _WAIT or not (mask or address):
        return VcpuState(address, Mode.IDLE)
    if mask & _PROBLEM_STATE:
        return VcpuState(address, Mode.USER)
    return VcpuState(address, Mode.KERNEL if mask & _TRANSLATED else Mode.FIRMWARE)


@dataclass(frozen=True, slots=True)
class S390X:
    """See `Architecture`. Register names: s390x-core64.xml of QEMU 7.2."""

    name: str = "s390x"
    # Kernel and user space have an address space each: every address may be the kernel's.
    kernel_half: tuple[int, int] = (0, 0xFFFF_FFFF_FFFF_FFFF)
    vector_symbols: tuple[str, ...] = ("ext_int_handler",)
    general: tuple[str, ...] = ("pswm", "pswa", *(f"r{i}" for i in range(16)))

    def vector(self, probe: Probe) -> int | None:
        """No register tells; the new status words in lowcore would, by physical address."""
        del probe
        return None

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`; see `Architecture.state`."""
        mask, address = registers.value("pswm", reply), registers.value("pswa", reply)
        if mask is None or address is None:
            raise ProtocolError(
                f"the stub's registers of {len(reply) // 2} bytes have no pswm or pswa"
            )
        return VcpuState(address, Mode.IDLE) if halted else state_of(mask, address)

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        mask = registers.value("pswm", reply)
        if mask is None or state_of(mask, 0).mode is Mode.USER:
            return None
        return registers.value("r15", reply)

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`; frames are chained from the stack pointer."""
        pc, sp = registers.value("pswa", reply), registers.value("r15", reply)
        return None if pc is None or sp is None else Registers(pc, sp, sp)

    def other_stack(self, _fp: int, _start: int, _chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`: stacks are cut where they leave the first."""
        return None
