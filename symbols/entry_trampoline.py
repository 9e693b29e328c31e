"""Page-table isolation of arm64: where the kernel's tables are while a vcpu runs on others.

A kernel that hides itself from programs (CONFIG_UNMAP_KERNEL_AT_EL0) gives TTBR1 other tables in
user mode. All that they map is a few pages of code that go in and out, at an address of their own
beside the one where the kernel was linked. They lie some pages from the kernel's tables, and how
many depends on the kernel: `tramp_pg_dir` and `swapper_pg_dir` of arch/arm64/kernel/vmlinux.lds.S;
`map_entry_trampoline` of arch/arm64/mm/mmu.c fills them. So they are told by what they map, and
the kernel's by mapping the same pages at the same address and more.

That they are filled does not say that they are used: Linux 6.1 was seen to fill them on a processor
with E0PD, where user mode keeps the kernel's tables.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from symbols.memory import Memory, MemoryFault
from symbols.paging import AArch64Tables, Mapped, PagedMemory

_WRAP = 1 << 64
#: How far the two tables are from each other at most, in pages of the kernel. It has been two,
#: and one where the table for no process was not between them.
_FURTHEST = 3
#: More pages than all variants of the vectors take.
_MOST_PAGES = 16
#: arm64 aligns its vectors so (VBAR_EL1, Arm ARM), and all of its image is within this size.
_VECTORS, _IMAGE = 1 << 11, 256 << 20


@dataclass(frozen=True, slots=True)
class Trampoline:
    """The code that user mode leaves and enters the kernel through.

    Attributes:
        start: where it runs, in user mode's tables and in the kernel's.
        end: the address after its last page.
        physical: where it lies.
    """

    start: int
    end: int
    physical: int

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


def kernel_tables(physical: Memory, seen: AArch64Tables) -> AArch64Tables | None:
    """The kernel's tables, given those that a vcpu runs on.

    Args:
        physical: the guest's RAM.
        seen: the kernel's tables, or those of user mode.

    Returns:
        None where `seen` are user mode's, and the kernel's are not beside them.
    """
    alone = _mapped_alone(physical, seen)
    if alone is None:
        return seen
    for other in _beside(seen, upwards=True):
        if _maps(physical, other, alone) and _mapped_alone(physical, other) is None:
            return other
    return None


def find_trampoline(physical: Memory, kernel: AArch64Tables) -> Trampoline | None:
    """What user mode has of a kernel that hides itself; None where that is not mapped, or not yet.

    Args:
        physical: the guest's RAM.
        kernel: its own tables.
    """
    for other in _beside(kernel, upwards=False):
        alone = _mapped_alone(physical, other)
        if alone is not None and _maps(physical, kernel, alone):
            return alone
    return None


def vectors_behind(
    physical: Memory, kernel: AArch64Tables, trampoline: Trampoline, page_bits: int
) -> int | None:
    """Where the kernel's own vectors are, by what the trampoline knows; None where it does not.

    A kernel that moves keeps their address in the page behind the trampoline's code, which only
    its own tables map (`tramp_data_read_var` of arch/arm64/kernel/entry.S; before 5.18
    `__entry_tramp_data_vectors`).

    Args:
        physical: the guest's RAM.
        kernel: its tables.
        trampoline: of it.
        page_bits: how long a page is, as a power of two.
    """
    memory = PagedMemory(physical, kernel)
    try:
        data = memory.read(trampoline.end, 1 << page_bits)
    except MemoryFault:
        return None
    for (word,) in struct.iter_unpack("<Q", data):
        if word >> 63 and not word % _VECTORS and word not in trampoline:
            try:
                at = memory.translate(word)
            except MemoryFault:
                continue
            if abs(at.address - trampoline.physical) < _IMAGE:
                return int(word)
    return None


def _beside(tables: AArch64Tables, *, upwards: bool) -> list[AArch64Tables]:
    """The places for the other tables, the likelier first: user mode's come before the kernel's."""
    if tables.page_bits is None:
        return []
    ways = (1, -1) if upwards else (-1, 1)
    steps = [way * distance for way in ways for distance in range(1, _FURTHEST + 1)]
    roots = [tables.root + (step << tables.page_bits) for step in steps]
    return [replace(tables, root=root) for root in roots if 0 <= root < _WRAP]


def _maps(physical: Memory, tables: AArch64Tables, trampoline: Trampoline) -> bool:
    try:
        at = tables.walk(physical, trampoline.start)
    except MemoryFault:
        return False
    return isinstance(at, Mapped) and at.address == trampoline.physical


def _mapped_alone(physical: Memory, tables: AArch64Tables) -> Trampoline | None:
    """The few neighbouring pages that are all that some tables map; None where they are not so."""
    if tables.page_bits is None:
        return None
    address, table = _WRAP - (1 << tables.space_bits), tables.first
    for bits, width in tables.levels:
        try:
            entries = struct.unpack(f"<{1 << width}Q", physical.read(table, 8 << width))
        except MemoryFault:
            return None
        valid = [i for i, entry in enumerate(entries) if entry & 1]
        # A page, or on the way down a table; never a larger block.
        if not valid or not all(entries[i] & 2 for i in valid):
            return None
        address |= valid[0] << bits
        table = tables.output(entries[valid[0]])
        if bits == tables.page_bits:
            expected = [table + (n << bits) for n in range(len(valid))]
            found = [tables.output(entries[i]) for i in valid]
            together = valid[-1] - valid[0] == len(valid) - 1 and found == expected
            if not together or len(valid) > _MOST_PAGES:
                return None
            return Trampoline(address, address + (len(valid) << bits), table)
        if len(valid) > 1:
            return None
    return None
