"""Page walks over tables that tests build, and over garbage."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.memory import BytesMemory, MemoryFault
from symbols.paging import (
    AArch64Tables,
    Mapped,
    PagedMemory,
    PageTables,
    RiscV64Tables,
    S390xTables,
    X86Tables,
)


@dataclass
class Tables:
    """Physical memory in which tables are made as they are needed."""

    order: str = "<"
    entries: dict[int, int] = field(default_factory=dict)
    free: int = 0x10_0000

    def new(self, size: int = 0x10000) -> int:
        self.free += 0x10000
        return self.free - 0x10000

    def read(self, address: int, size: int) -> bytes:
        if size != 8 or address % 8 or not 0x10_0000 <= address < self.free:
            raise MemoryFault(address, size)
        return struct.pack(self.order + "Q", self.entries.get(address, 0))


def x86_map(tables: Tables, root: int, levels: int, address: int, frame: int, leaf: int) -> None:
    table = root
    for level in reversed(range(levels)):
        at = table + 8 * (address >> (12 + 9 * level) & 0x1FF)
        if level == leaf:
            tables.entries[at] = frame | 0x8000_0000_0000_0003 | (0x80 if leaf else 0)
            return
        if not tables.entries.get(at):
            tables.entries[at] = tables.new() | 0x67
        table = tables.entries[at] & 0x000F_FFFF_FFFF_F000


@pytest.mark.parametrize("levels", [4, 5])
@given(
    raw=st.integers(0, (1 << 57) - 1),
    frame=st.integers(0, (1 << 40) - 1),
    leaf=st.integers(0, 2),
)
def test_x86_finds_what_was_mapped(levels: int, raw: int, frame: int, leaf: int) -> None:
    bits = 12 + 9 * levels
    low = raw & ((1 << bits) - 1)
    address = low | (-1 << bits) % (1 << 64) if low >> (bits - 1) else low
    tables = Tables()
    root = tables.new()
    page = 12 + 9 * leaf
    frame = frame << 12 >> page << page
    x86_map(tables, root, levels, address, frame, leaf)
    walk = X86Tables(root | 0x18, levels).walk(tables, address)
    inside = address & ((1 << page) - 1)
    assert walk == Mapped(frame | inside, (1 << page) - inside)
    assert X86Tables(root, levels).walk(tables, address ^ 1 << (bits - 2)) is None
    assert X86Tables(root, levels).walk(tables, address ^ 1 << 60) is None  # not canonical


@pytest.mark.parametrize(("granule", "bits"), [(2, 12), (1, 14), (3, 16)])
@pytest.mark.parametrize("space", [39, 42, 47, 48])
@given(raw=st.integers(0, (1 << 48) - 1), frame=st.integers(0, (1 << 48) - 1), up=st.integers(0, 1))
def test_aarch64_finds_what_was_mapped(
    granule: int, bits: int, space: int, raw: int, frame: int, up: int
) -> None:
    address = (-1 << space) % (1 << 64) | raw & ((1 << space) - 1)
    step = bits - 3
    levels = -(-(space - bits) // step)
    tables = Tables()
    root = table = tables.new()
    page = bits + step * up
    frame = frame >> page << page
    for level in reversed(range(levels)):
        shift = bits + step * level
        at = table + 8 * (address >> shift & ((1 << min(step, space - shift)) - 1))
        if level == up:
            tables.entries[at] = frame | 0x0060_0000_0000_0F01 | (0 if up else 2)
            break
        table = tables.new()
        tables.entries[at] = table | 3
    control = granule << 30 | (64 - space) << 16
    walked = AArch64Tables(root | 0x0042_0000_0000_0001, control).walk(tables, address)
    inside = address & ((1 << page) - 1)
    assert walked == Mapped(frame | inside, (1 << page) - inside)
    assert AArch64Tables(root, control).walk(tables, address ^ 1 << 63) is None


@pytest.mark.parametrize(("mode", "levels"), [(8, 3), (9, 4), (10, 5)])
@given(
    raw=st.integers(0, (1 << 57) - 1), frame=st.integers(0, (1 << 44) - 1), leaf=st.integers(0, 2)
)
def test_riscv64_finds_what_was_mapped(
    mode: int, levels: int, raw: int, frame: int, leaf: int
) -> None:
    bits = 12 + 9 * levels
    low = raw & ((1 << bits) - 1)
    address = low | (-1 << bits) % (1 << 64) if low >> (bits - 1) else low
    tables = Tables()
    root = table = tables.new()
    page = 12 + 9 * leaf
    frame = frame << 12 >> page << page
    for level in reversed(range(levels)):
        at = table + 8 * (address >> (12 + 9 * level) & 0x1FF)
        if level == leaf:
            tables.entries[at] = frame >> 12 << 10 | 0xCB
            break
        table = tables.new()
        tables.entries[at] = table >> 12 << 10 | 1
    satp = mode << 60 | 7 << 44 | root >> 12
    inside = address & ((1 << page) - 1)
    assert RiscV64Tables(satp).walk(tables, address) == Mapped(frame | inside, (1 << page) - inside)
    assert RiscV64Tables(satp & ~(0xF << 60)).walk(tables, address) is None


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("large", [False, True])
@given(raw=st.integers(0, (1 << 64) - 1), frame=st.integers(0, (1 << 51) - 1))
def test_s390x_finds_what_was_mapped(level: int, large: bool, raw: int, frame: int) -> None:
    address = raw & ((1 << (31 + 11 * level)) - 1)
    tables = Tables(">")
    root = table = tables.new()
    page = 20 if large else 12
    frame = frame << 12 >> page << page
    for kind in range(level, 0, -1):
        entry = tables.new()
        tables.entries[table + 8 * (address >> (20 + 11 * kind) & 0x7FF)] = entry | kind << 2 | 3
        table = entry
    at = table + 8 * (address >> 20 & 0x7FF)
    if large:
        tables.entries[at] = frame | 1 << 10
    else:
        tables.entries[at] = tables.new() | 0x800  # a table of pages is aligned to 2 KiB
        tables.entries[(tables.entries[at]) + 8 * (address >> 12 & 0xFF)] = frame
    inside = address & ((1 << page) - 1)
    assert S390xTables(root | level << 2 | 3).walk(tables, address) == Mapped(
        frame | inside, (1 << page) - inside
    )


class Garbage:
    """Physical memory that holds anything."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.reads = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        if self.data.draw(st.integers(0, 9)) == 0:
            raise MemoryFault(address, size)
        return self.data.draw(st.binary(min_size=size, max_size=size))


@given(
    tables=st.one_of(
        st.builds(X86Tables, st.integers(0, (1 << 64) - 1), st.sampled_from([4, 5])),
        st.builds(AArch64Tables, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1)),
        st.builds(RiscV64Tables, st.integers(0, (1 << 64) - 1)),
        st.builds(S390xTables, st.integers(0, (1 << 64) - 1)),
    ),
    address=st.integers(0, (1 << 64) - 1),
    data=st.data(),
)
def test_garbage_leads_anywhere_or_nowhere(
    tables: PageTables, address: int, data: st.DataObject
) -> None:
    physical = Garbage(data)
    try:
        mapped = tables.walk(physical, address)
    except MemoryFault:
        mapped = None
    assert physical.reads <= 6
    if mapped is not None:
        assert 0 <= mapped.address < 1 << 64
        assert 0 < mapped.left <= 1 << 53


def test_a_read_crosses_pages_and_tries_every_table() -> None:
    tables = Tables()
    user, kernel = tables.new(), tables.new()
    base = 0xFFFF_8000_0000_0000
    for i, frame in enumerate((0x5000, 0x9000)):
        x86_map(tables, kernel, 4, base + 0x1000 * i, frame, 0)
    pages = BytesMemory([(0x5000, bytes([1]) * 4096), (0x9000, bytes([2]) * 4096)])

    class Both:
        def read(self, address: int, size: int) -> bytes:
            try:
                return tables.read(address, size)
            except MemoryFault:
                return pages.read(address, size)

    memory = PagedMemory(Both(), X86Tables(user), X86Tables(kernel))
    assert memory.read(base + 4094, 4) == b"\1\1\2\2"
    for address, size in ((base + 8190, 4), (base - 1, 2), (0, 1)):
        with pytest.raises(MemoryFault):
            memory.read(address, size)
    with pytest.raises(MemoryFault):
        PagedMemory(Both()).read(base, 1)
