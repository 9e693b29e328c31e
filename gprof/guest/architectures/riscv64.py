"""riscv64 as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.unwinding.stack import Registers

_MOST_FRAMES = 128
_KERNEL_HALF = (0xFF00_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF)


def in_kernel_half(pc: int) -> bool:
    """Whether Linux has an address for itself: the upper half of Sv39, Sv48 and Sv57."""
    return _KERNEL_HALF[0] <= pc <= _KERNEL_HALF[1]


@dataclass(frozen=True, slots=True)
class RiscV64:
    """See `Architecture`. Register names: riscv-64bit-cpu.xml of QEMU 7.2."""

    name: str = "riscv64"
    kernel_half: tuple[int, int] = _KERNEL_HALF
    vector_symbols: tuple[str, ...] = ("handle_exception",)
    general: tuple[str, ...] = (
        *("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1"),
        *(f"a{i}" for i in range(8)),
        *(f"s{i}" for i in range(2, 12)),
        *(f"t{i}" for i in range(3, 7)),
    )

    def vector(self, probe: Probe) -> int | None:
        """The trap vector of supervisor mode, without its two bits of mode."""
        stvec = probe.register("stvec")
        return (stvec & ~3) or None if stvec else None

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`, which has no privilege; see `Architecture.state`."""
        pc = registers.value("pc", reply)
        if pc is None:
            raise ProtocolError(f"the stub's registers of {len(reply) // 2} bytes have no pc")
        if halted:
            return VcpuState(pc, Mode.IDLE)
        return VcpuState(pc, Mode.KERNEL if in_kernel_half(pc) else Mode.UNKNOWN)

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        pc = registers.value("pc", reply)
        if pc is None or not in_kernel_half(pc):
            return None
        return registers.value("sp", reply)

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`."""
        pc, sp, fp = (registers.value(name, reply) for name in ("pc", "sp", "fp"))
        link = registers.value("ra", reply)
        if pc is None or sp is None or fp is None:
            return None
        return Registers(pc, sp, fp, {"link": link} if link is not None else {})

    def other_stack(self, fp: int, start: int, chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`: where the chain of frames leaves the chunk."""
        for _ in range(_MOST_FRAMES):
            at = fp - 16 - start  # the two words of a frame lie below where the pointer points
            if not 0 <= at <= len(chunk) - 16:
                return fp - 16 if in_kernel_half(fp) and not fp & 7 else None
            fp = int.from_bytes(chunk[at : at + 8], "little")
        return None
