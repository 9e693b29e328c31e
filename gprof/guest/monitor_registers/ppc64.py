"""ppc64 (ppc_cpu_dump_state in target/ppc/cpu_init.c); it does not tell of waiting vcpus."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.ppc64 import mode_of
from gprof.guest.monitor_registers.values import hexadecimal, value

_PC = hexadecimal("NIP", r"\s+")
_MSR = hexadecimal("MSR", r"\s+")


def state(block: str) -> VcpuState | None:
    """Where a vcpu stands; None where the text does not tell."""
    pc, msr = value(_PC, block), value(_MSR, block)
    return None if pc is None or msr is None else VcpuState(pc, mode_of(msr))
