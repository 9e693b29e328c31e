"""AArch64 as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.unwinding.stack import Registers

_MOST_FRAMES = 128


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
    general: tuple[str, ...] = ("pc", "sp", *(f"x{number}" for number in range(31)), "cpsr")
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

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        pstate = registers.value("cpsr", reply)
        user = pstate is None or pstate & 0xF == 0
        return None if user else registers.value("sp", reply)

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`."""
        pc, sp, fp = (registers.value(name, reply) for name in ("pc", "sp", "x29"))
        link = registers.value("x30", reply)
        if pc is None or sp is None or fp is None:
            return None
        return Registers(pc, sp, fp, {"link": link} if link is not None else {})

    def other_stack(self, fp: int, start: int, chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`: where the chain of frames leaves the chunk."""
        for _ in range(_MOST_FRAMES):
            if not start <= fp <= start + len(chunk) - 16:
                return fp if fp >= self.kernel_half[0] and not fp & 7 else None
            fp = int.from_bytes(chunk[fp - start : fp - start + 8], "little")
        return None
