"""AArch64 as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile


def mode_of(pstate: int) -> Mode:
    """What a vcpu does, by its processor state."""
    if pstate & 0x10:  # AArch32; its user mode is 0b10000
        return Mode.USER if pstate & 0xF == 0 else Mode.KERNEL
    level = pstate >> 2 & 3  # PSTATE.M[3:2]: the exception level
    return (Mode.USER, Mode.KERNEL, Mode.KERNEL, Mode.FIRMWARE)[level]


@dataclass(frozen=True, slots=True)
class AArch64:
    """See `Architecture`. Register names: aarch64-core.xml of QEMU 7.2."""

    name: str = "aarch64"
    # Addresses that TTBR1 translates: bit 55 and all above it, whatever the size of the space.
    kernel_half: tuple[int, int] = (0xFF80_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF)
    vector_symbols: tuple[str, ...] = ("vectors",)

    def vector(self, probe: Probe) -> int | None:
        """The vector base register of exception level 1; QEMU 7.2 names it without the level."""
        return probe.register("VBAR_EL1") or probe.register("VBAR") or None

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`; see `Architecture.state`."""
        pc = registers.value("pc", reply)
        pstate = registers.value("cpsr", reply)
        if pc is None or pstate is None:
            raise ProtocolError(
                f"the stub's registers of {len(reply) // 2} bytes have no pc or cpsr"
            )
        return VcpuState(pc, Mode.IDLE if halted else mode_of(pstate))
