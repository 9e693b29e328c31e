"""Page walks: from a kernel's virtual address to the physical one, through its own tables.

Formats: Intel SDM volume 3, chapter 4 (four and five levels); Arm ARM, D8 (4, 16 and 64 KiB
granules); RISC-V privileged specification, 4.4 to 4.6 (Sv39, Sv48, Sv57); z/Architecture
Principles of Operation, chapter 3 (dynamic address translation).

Tables are the guest's and may hold anything: a walk reads one entry a level, and never loops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from symbols.memory import Memory, MemoryFault

_WRAP = 1 << 64
_PAGE_BITS = 12
#: Bits of CR4 and of CR3 (x86-64).
_FIVE_LEVELS = 1 << 12
_USER_TABLE = 1 << 12


@dataclass(frozen=True, slots=True)
class Mapped:
    """Where an address leads.

    Attributes:
        address: physical.
        left: bytes from there to the end of its page.
    """

    address: int
    left: int


class PageTables(Protocol):
    """One root of an architecture's tables."""

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        """Where a virtual address leads; None where it leads nowhere.

        Args:
            physical: the guest's RAM by physical address.
            address: virtual, 0 to 2^64-1.

        Raises:
            MemoryFault: an entry lies outside of RAM.
        """
        ...


class PagedMemory:
    """Virtual memory through one of several tables, the first that maps an address.

    Args:
        physical: the guest's RAM by physical address.
        tables: one or more roots: vcpus run different processes, and one that runs user code
            may map hardly any of the kernel.
    """

    def __init__(self, physical: Memory, *tables: PageTables) -> None:
        self._physical = physical
        self._tables = tables

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at `address`; see `symbols.memory.Memory`."""
        found = bytearray()
        while len(found) < size:
            try:
                at = self.translate((address + len(found)) % _WRAP)
            except MemoryFault:
                raise MemoryFault(address, size) from None
            length = min(at.left, size - len(found))
            try:
                found += self._physical.read(at.address, length)
            except MemoryFault:
                raise MemoryFault(address, size) from None
        return bytes(found)

    def translate(self, address: int) -> Mapped:
        """Where a virtual address leads.

        Raises:
            MemoryFault: nowhere.
        """
        for tables in self._tables:
            try:
                mapped = tables.walk(self._physical, address)
            except MemoryFault:
                continue
            if mapped is not None:
                return mapped
        raise MemoryFault(address, 1)


def _mapped(frame: int, address: int, bits: int) -> Mapped:
    """The place of an address in a page of 2^bits bytes."""
    inside = address & ((1 << bits) - 1)
    return Mapped((frame >> bits << bits) | inside, (1 << bits) - inside)


def _entry(physical: Memory, table: int, index: int, order: str = "little") -> int:
    data = physical.read(table + 8 * index, 8)
    return int.from_bytes(data, "big" if order == "big" else "little")


@dataclass(frozen=True, slots=True)
class NoTables:
    """A processor without paging: every address is physical."""

    def walk(self, physical: Memory, address: int) -> Mapped | None:  # noqa: ARG002
        """See `PageTables.walk`."""
        return Mapped(address, (1 << _PAGE_BITS) - address % (1 << _PAGE_BITS))


@dataclass(frozen=True, slots=True)
class X86Tables:
    """x86-64.

    Attributes:
        root: physical address of the first table, as in CR3; its lower bits are ignored.
        levels: 4 or 5, by bit 12 of CR4.
    """

    root: int
    levels: int = 4

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        """See `PageTables.walk`."""
        top = _PAGE_BITS + 9 * self.levels
        if address >> (top - 1) not in {0, (1 << (65 - top)) - 1}:
            return None  # not canonical
        table = self.root & 0x000F_FFFF_FFFF_F000
        for level in reversed(range(self.levels)):
            bits = _PAGE_BITS + 9 * level
            entry = _entry(physical, table, address >> bits & 0x1FF)
            if not entry & 1:
                return None
            table = entry & 0x000F_FFFF_FFFF_F000
            if level == 0 or (level <= 2 and entry & 1 << 7):
                return _mapped(table, address, bits)
        return None


def x86_tables(root: int, control: int) -> tuple[X86Tables, X86Tables]:
    """The tables that a vcpu uses, those with all of the kernel first.

    With page-table isolation, user code runs on the second of two neighbouring tables
    (arch/x86/include/asm/pgtable.h, kernel_to_user_pgdp); without it the two are one or unrelated.

    Args:
        root: CR3.
        control: CR4.
    """
    levels = 5 if control & _FIVE_LEVELS else 4
    return X86Tables(root & ~_USER_TABLE & ~0xFFF, levels), X86Tables(root & ~0xFFF, levels)


@dataclass(frozen=True, slots=True)
class AArch64Tables:
    """AArch64, the upper half: what TTBR1 translates.

    Attributes:
        root: TTBR1_EL1; the address space's number and the common bit are ignored.
        control: TCR_EL1, for the size of the half (T1SZ) and of its pages (TG1).
    """

    root: int
    control: int

    @property
    def page_bits(self) -> int | None:
        """How long a page is, as a power of two; None where the register says nothing valid."""
        page = {1: 14, 2: 12, 3: 16}.get(self.control >> 30 & 3)
        return page if page is not None and page < self.space_bits <= 52 else None

    @property
    def space_bits(self) -> int:
        """How long the half is, as a power of two."""
        return 64 - (self.control >> 16 & 0x3F)

    @property
    def first(self) -> int:
        """Physical address of the first table."""
        # With 52 bits of physical address, the root's upper four are in bits 2 to 5.
        upper = (self.root >> 2 & 0xF) << 48 if self.space_bits == 52 else 0
        return self.root & 0x0000_FFFF_FFFF_FFC0 | upper

    @property
    def levels(self) -> list[tuple[int, int]]:
        """The levels of tables, from the first.

        Of each, how many bits of an address lie below those that choose an entry, and how many
        choose it.
        """
        page, space = self.page_bits, self.space_bits
        if page is None:
            return []
        step = page - 3
        count = -(-(space - page) // step)
        places = [page + step * level for level in reversed(range(count))]
        return [(bits, min(step, space - bits)) for bits in places]

    def output(self, entry: int) -> int:
        """The physical address in an entry."""
        if self.page_bits == 16:  # bits 12 to 15 are the upper four of 52 (FEAT_LPA)
            return entry & 0x0000_FFFF_FFFF_0000 | (entry >> 12 & 0xF) << 48
        if self.control >> 59 & 1:  # 52 bits with small pages (FEAT_LPA2)
            return entry & 0x0003_FFFF_FFFF_F000 | (entry >> 8 & 3) << 50
        return entry & 0x0000_FFFF_FFFF_F000

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        """See `PageTables.walk`."""
        page, space = self.page_bits, self.space_bits
        if page is None or address >> space != _WRAP - 1 >> space:
            return None
        table = self.first
        for bits, width in self.levels:
            entry = _entry(physical, table, address >> bits & ((1 << width) - 1))
            if not entry & 1:
                return None
            frame = self.output(entry)
            if bits == page:
                return _mapped(frame, address, bits) if entry & 2 else None
            if not entry & 2:
                return _mapped(frame, address, bits)
            table = frame
        return None


@dataclass(frozen=True, slots=True)
class RiscV64Tables:
    """riscv64.

    Attributes:
        root: the register satp, which says how many levels there are.
    """

    root: int

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        """See `PageTables.walk`."""
        levels = {8: 3, 9: 4, 10: 5}.get(self.root >> 60)
        if levels is None:
            return None
        top = _PAGE_BITS + 9 * levels
        if address >> (top - 1) not in {0, (1 << (65 - top)) - 1}:
            return None  # not a sign-extended address
        table = (self.root & (1 << 44) - 1) << _PAGE_BITS
        for level in reversed(range(levels)):
            bits = _PAGE_BITS + 9 * level
            entry = _entry(physical, table, address >> bits & 0x1FF)
            if not entry & 1:
                return None
            table = (entry >> 10 & (1 << 44) - 1) << _PAGE_BITS
            if entry & 0b1010:  # readable or executable: a page
                return _mapped(table, address, bits)
        return None


@dataclass(frozen=True, slots=True)
class S390xTables:
    """s390x.

    Attributes:
        root: an address-space control element, such as control register 1 while the kernel
            runs.
    """

    root: int

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        """See `PageTables.walk`."""
        if self.root & 1 << 5:  # a real space: no translation
            return _mapped(address, address, _PAGE_BITS)
        level = self.root >> 2 & 3  # of region tables: 3 is the first, 0 the segment table
        if address >> (31 + 11 * level):
            return None
        table = self.root & ~0xFFF
        while True:
            bits = 20 + 11 * level
            entry = _entry(physical, table, address >> bits & 0x7FF, "big")
            if entry & 1 << 5 or entry >> 2 & 3 != level:  # invalid, or of another kind of table
                return None
            if entry & 1 << 10 and level < 2:  # a page of 2 GiB or of 1 MiB
                return _mapped(entry, address, bits)
            if level == 0:
                break
            table, level = entry & ~0xFFF, level - 1
        entry = _entry(physical, entry & ~0x7FF, address >> _PAGE_BITS & 0xFF, "big")
        return None if entry & 1 << 10 else _mapped(entry, address, _PAGE_BITS)
