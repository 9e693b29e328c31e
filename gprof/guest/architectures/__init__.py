"""What the registers of a vcpu mean, one file an architecture."""

from __future__ import annotations

from gprof.errors import TargetError
from gprof.guest.architectures.aarch64 import AArch64
from gprof.guest.architectures.architecture import Architecture, VcpuState
from gprof.guest.architectures.x86_64 import X86_64

#: By the name that a stub's target description gives.
BY_DESCRIPTION: dict[str, Architecture] = {
    "i386:x86-64": X86_64(),
    "aarch64": AArch64(),
}

#: By the name that an ELF file and the kernel give.
BY_NAME: dict[str, Architecture] = {known.name: known for known in BY_DESCRIPTION.values()}


def described(name: str) -> Architecture:
    """The architecture of a target description.

    Raises:
        TargetError: gprof does not know it.
    """
    known = BY_DESCRIPTION.get(name)
    if known is None:
        raise TargetError(
            f"the guest's architecture {name or 'without a name'} is not supported",
            f"gprof samples {', '.join(sorted(BY_NAME))}.",
        )
    return known


__all__ = ["BY_DESCRIPTION", "BY_NAME", "Architecture", "VcpuState", "described"]
