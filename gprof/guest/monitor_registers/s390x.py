"""s390x (s390_cpu_dump_state in target/s390x/cpu-dump.c)."""

from __future__ import annotations

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.s390x import state_of
from gprof.guest.monitor_registers.values import hexadecimal, value

_MASK = hexadecimal("mask", r"\s+")
_ADDRESS = hexadecimal("addr", r"\s+")


def state(block: str) -> VcpuState | None:
    """Where a vcpu stands; None where the text does not tell."""
    mask, address = value(_MASK, block), value(_ADDRESS, block)
    return None if mask is None or address is None else state_of(mask, address)
