"""ppc64 (ppc_cpu_dump_state in target/ppc/cpu_init.c); it does not tell of waiting vcpus."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.ppc64 import mode_of
from gprof.guest.monitor_registers.values import Reading, hexadecimal

PATTERNS = {"pc": hexadecimal("NIP", r"\s+"), "msr": hexadecimal("MSR", r"\s+")}


def state(read: Reading) -> VcpuState | None:
    """Where a vcpu stands; None where the registers do not tell."""
    pc, msr = read("pc"), read("msr")
    return None if pc is None or msr is None else VcpuState(pc, mode_of(msr))
