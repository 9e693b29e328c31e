"""What the registers of a vcpu mean, one file an architecture."""

from __future__ import annotations

from gprof.errors import TargetError
from gprof.guest.architectures.aarch64 import AArch64
from gprof.guest.architectures.architecture import Architecture, VcpuState
from gprof.guest.architectures.ppc64 import Ppc64
from gprof.guest.architectures.riscv64 import RiscV64
from gprof.guest.architectures.s390x import S390X
from gprof.guest.architectures.x86_64 import X86_64

#: By the name that a stub's target description gives.
BY_DESCRIPTION: dict[str, Architecture] = {
    "i386:x86-64": X86_64(),
    "aarch64": AArch64(),
    "s390:64-bit": S390X(),
    "riscv:rv64": RiscV64(),
    "powerpc:common64": Ppc64(),
}

#: By the name that an ELF file and the kernel give.
BY_NAME: dict[str, Architecture] = {known.name: known for known in BY_DESCRIPTION.values()}

#: By name: where a vcpu of a running kernel is in firmware again and again, beside the kernel and
#: without its page tables. Of riscv64 that is machine mode, which sends interrupts and flushes TLBs
#: for the kernel (SBI).
FIRMWARE_BESIDE_KERNEL = frozenset({"riscv64"})


def described(name: str) -> Architecture:
    """The architecture of a target description, or of that name.

    Raises:
        TargetError: gprof does not know it.
    """
    known = BY_DESCRIPTION.get(name) or BY_NAME.get(name)
    if known is None:
        raise TargetError(
            f"the guest's architecture {name or 'without a name'} is not supported",
            f"gprof samples {', '.join(sorted(BY_NAME))}.",
        )
    return known


__all__ = [
    "BY_DESCRIPTION", "BY_NAME", "FIRMWARE_BESIDE_KERNEL", "Architecture", "VcpuState", "described",
]  # fmt: skip
