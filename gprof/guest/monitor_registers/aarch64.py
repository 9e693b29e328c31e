"""AArch64 (aarch64_cpu_dump_state in target/arm/cpu.c); it does not tell of waiting vcpus."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.aarch64 import mode_of
from gprof.guest.monitor_registers.values import Reading, hexadecimal

#: In AArch32 the pc is a register like others, and the state has its old name.
PATTERNS = {
    "pc": hexadecimal("PC"), "pstate": hexadecimal("PSTATE"),
    "r15": hexadecimal("R15"), "psr": hexadecimal("PSR"),
}  # fmt: skip


def state(read: Reading) -> VcpuState | None:
    """Where a vcpu stands; None where the registers do not tell."""
    for pc_name, state_name in (("pc", "pstate"), ("r15", "psr")):
        pc, pstate = read(pc_name), read(state_name)
        if pc is not None and pstate is not None:
            return VcpuState(pc, mode_of(pstate))
    return None
