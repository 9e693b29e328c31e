"""Where the page tables are that a dumped guest's kernel runs on.

A dump has the registers that say so on x86-64 (CR3) and s390x (control register 13: the kernel's
address space since Linux 5.10, commit 87d598634521), but not on aarch64 and riscv64. There the
kernel's own facts for crash tools are looked for in its RAM (VMCOREINFO): the address of its tables
and how far its image is from physical memory (arch/arm64/kernel/vmcore_info.c and
arch/riscv/kernel/vmcore_info.c of Linux 6.12; crash_core.c before 6.9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gprof.errors import FormatError
from gprof.guest.core_file import CoreFile
from gprof.guest.core_vcpus import CoreVcpu
from symbols.errors import IntrospectionError
from symbols.memory import MemoryFault
from symbols.paging import (
    AArch64Tables,
    PagedMemory,
    PageTables,
    RiscV64Tables,
    S390xTables,
    x86_tables,
)
from symbols.vmcoreinfo import Vmcoreinfo, find_vmcoreinfo

_WRAP = 1 << 64
_OWNER = b"VMCOREINFO"
#: TCR_EL1.TG1 by the size of a page, and its bit for 52 bits of address with small pages.
_TG1 = {4 << 10: 2, 16 << 10: 1, 64 << 10: 3}
_DS = 1 << 59
#: satp.MODE by how many bits an address has.
_SATP_MODE = {39: 8, 48: 9, 57: 10}


def tables_of(
    core: CoreFile, vcpus: Sequence[CoreVcpu]
) -> tuple[list[PageTables], Vmcoreinfo | None]:
    """The tables of a dump's kernel, and what it says of itself where that was needed for them.

    Raises:
        FormatError: there are none to be found.
    """
    found: list[PageTables] = []
    if core.architecture == "x86_64":
        for vcpu in vcpus:
            root, control = vcpu.registers.get("cr3", 0), vcpu.registers.get("cr4", 0)
            if root:
                found += [one for one in x86_tables(root, control) if one not in found]
    elif core.architecture == "s390x":
        roots = dict.fromkeys(vcpu.registers.get("cr13", 0) for vcpu in vcpus)
        found += [S390xTables(root) for root in roots if root]
    else:
        return _told_by_kernel(core)
    if not found:
        raise FormatError(
            f"in {core.shown} no vcpu has page tables: its guest had not begun to boot",
            "There is nothing to look at in its memory yet.",
        )
    return found, None


def _told_by_kernel(core: CoreFile) -> tuple[list[PageTables], Vmcoreinfo]:
    for told in _facts(core):
        tables = _aarch64(told) if core.architecture == "aarch64" else _riscv64(told)
        # RAM may hold what a kernel wrote that ran before, whose tables are gone.
        if tables is not None and _leads_to(core, tables, told.symbols["_stext"]):
            return [tables], told
    raise FormatError(
        f"in {core.shown} no kernel tells where its page tables are (VMCOREINFO)",
        "A dump of this architecture can be read if its guest had booted a Linux with "
        "CONFIG_VMCORE_INFO (before 6.9: CONFIG_CRASH_CORE); one that still runs: "
        "gprof dump --gdb.",
    )


def _facts(core: CoreFile) -> Iterator[Vmcoreinfo]:
    """What kernels say of themselves: as the guest gave it to QEMU, else found in RAM."""
    for note in core.notes:
        if note.owner == _OWNER:
            try:
                told = Vmcoreinfo.parse(note.content)
            except IntrospectionError:
                continue
            if "_stext" in told.symbols:
                yield told
    yield from find_vmcoreinfo(core, core.ranges)


def _leads_to(core: CoreFile, tables: PageTables, address: int) -> bool:
    try:
        PagedMemory(core, tables).read(address, 8)
    except MemoryFault:
        return False
    return True


def _aarch64(told: Vmcoreinfo) -> AArch64Tables | None:
    tables, distance = told.symbols.get("swapper_pg_dir"), told.numbers.get("kimage_voffset")
    granule = _TG1.get(told.page_size)
    space = told.numbers.get("TCR_EL1_T1SZ")
    if space is None and (bits := told.numbers.get("VA_BITS")) is not None:
        space = 64 - bits
    if tables is None or distance is None or granule is None or space is None:
        return None
    control = (space & 0x3F) << 16 | granule << 30
    if space == 12 and told.page_size < 64 << 10:
        control |= _DS
    return AArch64Tables((tables - distance) % _WRAP, control)


def _riscv64(told: Vmcoreinfo) -> RiscV64Tables | None:
    tables, distance = told.symbols.get("swapper_pg_dir"), told.numbers.get("va_kernel_pa_offset")
    mode = _SATP_MODE.get(told.numbers.get("VA_BITS", 0))
    if tables is None or distance is None or mode is None:
        return None
    return RiscV64Tables(mode << 60 | (tables - distance) % _WRAP >> 12)
