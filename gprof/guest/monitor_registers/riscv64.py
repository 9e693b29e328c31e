"""riscv64 (riscv_cpu_dump_state in target/riscv/cpu.c); it prints no privilege and no waiting."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.riscv64 import in_kernel_half
from gprof.guest.mode import Mode
from gprof.guest.monitor_registers.values import Reading, hexadecimal

PATTERNS = {name: hexadecimal(name, r"\s+") for name in ("pc", "satp", "mtvec")}

#: The firmware of machine mode lies around its trap handler: OpenSBI takes less than this.
_FIRMWARE_SIZE = 0x20_0000


def state(read: Reading) -> VcpuState | None:
    """Where a vcpu stands; None where the registers do not tell.

    Its privilege follows from the address: firmware runs where nothing is translated, or next to
    the trap handler of machine mode, and Linux is in the upper half.
    """
    pc = read("pc")
    if pc is None:
        return None
    if in_kernel_half(pc):
        return VcpuState(pc, Mode.KERNEL)
    satp, mtvec = read("satp"), read("mtvec")
    if satp is None:
        return VcpuState(pc, Mode.UNKNOWN)
    beside = mtvec is not None and mtvec // _FIRMWARE_SIZE == pc // _FIRMWARE_SIZE
    return VcpuState(pc, Mode.FIRMWARE if not satp or beside else Mode.USER)
