"""ppc64 as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.unwinding.stack import Registers

# Bits of the machine state register (Power ISA 3.1, book III, 4.2.1), from the right.
_PROBLEM_STATE = 1 << 14
_TRANSLATED = 1 << 5


def mode_of(msr: int) -> Mode:
    """What a vcpu does, by its machine state register."""
    if msr & _PROBLEM_STATE:
        return Mode.USER
    if msr & _TRANSLATED:
        return Mode.KERNEL
    return Mode.FIRMWARE


@dataclass(frozen=True, slots=True)
class Ppc64:
    """See `Architecture`. Register names: power64-core.xml of QEMU 7.2."""

    name: str = "ppc64"
    kernel_half: tuple[int, int] = (0xC000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF)
    vector_symbols: tuple[str, ...] = ()
    general: tuple[str, ...] = (
        *("pc", "msr", "cr", "lr", "ctr", "xer"),
        *(f"r{i}" for i in range(32)),
    )

    def vector(self, probe: Probe) -> int | None:
        """The vectors are at fixed addresses and tell nothing."""
        del probe
        return None

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`; see `Architecture.state`."""
        pc, msr = registers.value("pc", reply), registers.value("msr", reply)
        if pc is None or msr is None:
            raise ProtocolError(
                f"the stub's registers of {len(reply) // 2} bytes have no pc or msr"
            )
        return VcpuState(pc, Mode.IDLE if halted else mode_of(msr))

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        msr = registers.value("msr", reply)
        if msr is None or mode_of(msr) is Mode.USER:
            return None
        return registers.value("r1", reply)

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`; frames are chained from the stack pointer."""
        pc, sp = registers.value("pc", reply), registers.value("r1", reply)
        return None if pc is None or sp is None else Registers(pc, sp, sp)

    def other_stack(self, _fp: int, _start: int, _chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`: stacks are cut where they leave the first."""
        return None
