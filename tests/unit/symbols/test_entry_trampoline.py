"""The kernel's tables beside those of user mode, and the code that both map."""

from __future__ import annotations

import struct

import pytest

from symbols.entry_trampoline import Trampoline, find_trampoline, kernel_tables, vectors_behind
from symbols.memory import BytesMemory
from symbols.paging import AArch64Tables

RAM, SIZE = 0x4000_0000, 1 << 20
#: TCR_EL1 for 48 bits, by the size of a page as a power of two.
CONTROL = {12: 16 << 16 | 2 << 30, 14: 16 << 16 | 1 << 30, 16: 16 << 16 | 3 << 30}
USER_ROOT, CODE = RAM + 0x4_0000, RAM + 0x1_0000
START = 0xFFFF_FBFF_FDBF_0000
VECTORS = 0xFFFF_8000_0801_0800
ASID = 0x1427 << 48


class Ram:
    """Memory that tables are put into."""

    def __init__(self, page_bits: int) -> None:
        self.page_bits = page_bits
        self.data = bytearray(SIZE)
        self.free = RAM + 0x8_0000

    def tables(self, root: int) -> AArch64Tables:
        return AArch64Tables(root | ASID, CONTROL[self.page_bits])

    def put(self, address: int, *words: int) -> None:
        struct.pack_into(f"<{len(words)}Q", self.data, address - RAM, *words)

    def word(self, address: int) -> int:
        return int(struct.unpack_from("<Q", self.data, address - RAM)[0])

    def map(self, root: int, address: int, physical: int) -> None:
        """One page, with the tables on the way to it."""
        table = root
        for bits, width in self.tables(root).levels:
            entry = table + 8 * (address >> bits & ((1 << width) - 1))
            if bits == self.page_bits:
                self.put(entry, physical | 3)
            elif not self.word(entry):
                self.put(entry, self.free | 3)
                self.free += 1 << self.page_bits
            table = self.word(entry) & ~0xFFF

    @property
    def memory(self) -> BytesMemory:
        return BytesMemory([(RAM, bytes(self.data))])


def isolated(page_bits: int, distance: int = 2, pages: int = 2) -> tuple[Ram, int]:
    """A kernel that hides itself, and the root of its tables."""
    ram, page = Ram(page_bits), 1 << page_bits
    kernel = USER_ROOT + distance * page
    ram.free = RAM + 0xA_0000 if page_bits < 16 else RAM + 0x8_0000
    for n in range(pages):
        ram.map(USER_ROOT, START + n * page, CODE + n * page)
        ram.map(kernel, START + n * page, CODE + n * page)
    ram.map(kernel, VECTORS & -page, RAM)
    return ram, kernel


@pytest.mark.parametrize("page_bits", [12, 14])
@pytest.mark.parametrize("distance", [1, 2])
def test_the_kernels_tables_are_found_from_those_of_user_mode(
    page_bits: int, distance: int
) -> None:
    ram, kernel = isolated(page_bits, distance)
    found = kernel_tables(ram.memory, ram.tables(USER_ROOT))
    assert found is not None
    assert found.first == kernel
    assert kernel_tables(ram.memory, ram.tables(kernel)) == ram.tables(kernel)


@pytest.mark.parametrize("page_bits", [12, 14])
def test_the_code_that_both_map_is_found(page_bits: int) -> None:
    ram, kernel = isolated(page_bits)
    end = START + (2 << page_bits)
    found = find_trampoline(ram.memory, ram.tables(kernel))
    assert found == Trampoline(START, end, CODE)
    assert START in found
    assert end not in found


def test_a_kernel_that_does_not_hide_itself_has_no_such_code() -> None:
    ram, kernel = isolated(12)
    ram.data[USER_ROOT - RAM : USER_ROOT - RAM + 4096] = bytes(4096)
    assert find_trampoline(ram.memory, ram.tables(kernel)) is None
    assert kernel_tables(ram.memory, ram.tables(kernel)) == ram.tables(kernel)


def test_tables_of_something_else_are_not_believed() -> None:
    ram, kernel = isolated(12)
    ram.map(kernel, START, RAM + 0x7000)  # the kernel has other memory there
    assert find_trampoline(ram.memory, ram.tables(kernel)) is None
    assert kernel_tables(ram.memory, ram.tables(USER_ROOT)) is None


@pytest.mark.parametrize(("first", "second"), [(CODE, CODE + 0x2000), (CODE, None)])
def test_pages_that_lie_apart_are_no_such_code(first: int, second: int | None) -> None:
    ram = Ram(12)
    kernel = USER_ROOT + 0x2000
    for root in (USER_ROOT, kernel):
        ram.map(root, START, first)
        if second is not None:
            ram.map(root, START + 0x1000, second)
        else:
            ram.map(root, START + 0x2000, first + 0x1000)
    ram.map(kernel, VECTORS & -4096, RAM)
    assert find_trampoline(ram.memory, ram.tables(kernel)) is None


def test_the_vectors_are_told_by_the_page_behind_the_code() -> None:
    ram, kernel = isolated(12)
    trampoline = Trampoline(START, START + 0x2000, CODE)
    args = (ram.tables(kernel), trampoline, 12)
    assert vectors_behind(ram.memory, *args) is None  # no such page
    ram.map(kernel, START + 0x2000, CODE + 0x2000)
    # Of these words the first leads nowhere, and the second is no place for vectors.
    ram.put(CODE + 0x2000, 0xFFFF_8000_0900_0800, VECTORS + 8, VECTORS)
    assert vectors_behind(ram.memory, *args) == VECTORS


def test_what_lies_outside_of_memory_is_nothing() -> None:
    ram, kernel = isolated(12)
    ram.put(USER_ROOT + 8 * (START >> 39 & 0x1FF), 0xFFFF_FFFF_F000 | 3)
    assert find_trampoline(ram.memory, ram.tables(kernel)) is None
    beyond = ram.tables(0x1000)
    assert find_trampoline(ram.memory, beyond) is None
    assert kernel_tables(ram.memory, beyond) == beyond
    assert kernel_tables(ram.memory, AArch64Tables(kernel, 0)) == AArch64Tables(kernel, 0)
