"""s390x (s390_cpu_dump_state in target/s390x/cpu-dump.c)."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.s390x import state_of
from gprof.guest.monitor_registers.values import Reading, hexadecimal

PATTERNS = {"mask": hexadecimal("mask", r"\s+"), "address": hexadecimal("addr", r"\s+")}


def state(read: Reading) -> VcpuState | None:
    """Where a vcpu stands; None where the registers do not tell."""
    mask, address = read("mask"), read("address")
    return None if mask is None or address is None else state_of(mask, address)
