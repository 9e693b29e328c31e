"""Where the vcpus stand, from what QEMU's monitor prints for `info registers -a`.

That text is made for people, and changes between versions: so each architecture looks only for
the few values that it needs, by their names, wherever they stand. It comes from cpu_dump_state in
target/*/cpu.c and helper.c of QEMU (7.2 to 10.1 looked at; texts of 7.2 in fixtures/monitor).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from gprof.guest.architectures import VcpuState
from gprof.guest.monitor_registers import aarch64, ppc64, riscv64, s390x, x86_64
from gprof.guest.monitor_registers.values import Reading, reading

#: How a vcpu's state follows from its registers, and where the text has those, by architecture.
READERS: Mapping[str, tuple[Callable[[Reading], VcpuState | None], Mapping[str, re.Pattern[str]]]]
READERS = MappingProxyType(
    {
        "x86_64": (x86_64.state, x86_64.PATTERNS),
        "aarch64": (aarch64.state, aarch64.PATTERNS),
        "s390x": (s390x.state, s390x.PATTERNS),
        "riscv64": (riscv64.state, riscv64.PATTERNS),
        "ppc64": (ppc64.state, ppc64.PATTERNS),
    }
)

#: At the start of a line; a pattern that begins with that would be tried on every letter.
_HEADING = re.compile(r"CPU#(?<![^\n]CPU#)([0-9]{1,4})\s*$", re.MULTILINE)


def blocks(text: str) -> dict[int, str]:
    """What is said of each vcpu, by its index; the first of an index counts."""
    found: dict[int, str] = {}
    parts = _HEADING.split(text)
    for index, block in zip(parts[1::2], parts[2::2], strict=True):
        found.setdefault(int(index), block)
    return found


def readings(text: str, architecture: str) -> dict[int, Reading]:
    """The registers of each vcpu of a text, by its index.

    Args:
        text: what the monitor prints.
        architecture: a key of `READERS`.
    """
    _, patterns = READERS[architecture]
    return {index: reading(block, patterns) for index, block in blocks(text).items()}


def states(read: Mapping[int, Reading], architecture: str) -> dict[int, VcpuState | None]:
    """Where each vcpu stands, by its index; None where its registers do not tell."""
    state, _ = READERS[architecture]
    return {index: state(one) for index, one in read.items()}


__all__ = ["READERS", "Reading", "blocks", "readings", "states"]
