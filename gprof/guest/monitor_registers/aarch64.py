"""AArch64 (aarch64_cpu_dump_state in target/arm/cpu.c); it does not tell of waiting vcpus."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.aarch64 import mode_of
from gprof.guest.monitor_registers.values import hexadecimal, value

_PC = hexadecimal("PC")
_PSTATE = hexadecimal("PSTATE")
#: In AArch32 the pc is a register like others, and the state has its old name.
_PC32 = hexadecimal("R15")
_PSR = hexadecimal("PSR")


def state(block: str) -> VcpuState | None:
    """Where a vcpu stands; None where the text does not tell."""
    for pc_name, state_name in ((_PC, _PSTATE), (_PC32, _PSR)):
        pc, pstate = value(pc_name, block), value(state_name, block)
        if pc is not None and pstate is not None:
            return VcpuState(pc, mode_of(pstate))
    return None
