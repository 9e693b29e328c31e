"""Reading ORC tables in every format, and refusing what is none."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.errors import UnwindError
from symbols.memory import BytesMemory
from symbols.unwinding.module_orc import ModuleLayout, module_tables
from symbols.unwinding.orc_table import Base, Frame, OrcTable
from tests.unit.symbols.unwinding.orc_tables import HEADERS, SLOTS, TEXT, Entry, encoded

ENTRIES = [
    *(Entry(TEXT[0] + 16 * i, Frame.CALL, offset=8 + 8 * (i % 5)) for i in range(20)),
    Entry(TEXT[0] + 0x1000, Frame.CALL, Base.BP, 16, Base.PREVIOUS_SP, -16),
    Entry(TEXT[0] + 0x1010, Frame.CALL, Base.SP_INDIRECT, 8, Base.BP, -8),
    Entry(TEXT[0] + 0x1020, Frame.REGS, Base.SP, 0, interrupted=True),
    Entry(TEXT[0] + 0x1030, Frame.REGS_PARTIAL, Base.SP, 0, interrupted=True),
    Entry(TEXT[0] + 0x1040, Frame.END_OF_STACK, Base.UNDEFINED),
    Entry(TEXT[0] + 0x1050, Frame.UNDEFINED, Base.UNDEFINED),
    Entry(TEXT[0] + 0x1060, Frame.CALL, Base.R10, 0),
]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_every_format_says_the_same(version: int, header: bool) -> None:
    shown = HEADERS.get(version, b"") if header else b""
    table = OrcTable.parse(*encoded(ENTRIES, version), SLOTS, TEXT, header=shown)
    assert table.version == version
    assert table.start.tolist() == [entry.at for entry in ENTRIES]
    assert table.frame.tolist() == [entry.frame for entry in ENTRIES]
    assert table.cfa_offset.tolist() == [entry.offset for entry in ENTRIES]
    assert table.bp_offset.tolist() == [entry.bp_offset for entry in ENTRIES]
    assert table.interrupted.tolist() == [entry.interrupted for entry in ENTRIES]
    with_base = [i for i, e in enumerate(ENTRIES) if e.frame > Frame.END_OF_STACK]
    assert table.cfa_base[with_base].tolist() == [ENTRIES[i].base for i in with_base]
    assert table.bp_base[with_base].tolist() == [ENTRIES[i].bp for i in with_base]


def test_a_register_only_the_newest_format_has() -> None:
    entries = [*ENTRIES, Entry(TEXT[0] + 0x2000, Frame.CALL, Base.AX, 8)]
    table = OrcTable.parse(*encoded(entries, 4), SLOTS, TEXT, header=HEADERS[4])
    assert table.cfa_base[-1] == Base.AX


def test_unsorted_tables_are_sorted_and_ends_of_text_give_way() -> None:
    at = TEXT[0] + 0x40  # where one piece of text ends and another one begins
    entries = [*ENTRIES[10:], Entry(at, Frame.UNDEFINED, Base.UNDEFINED), *ENTRIES[:10]]
    random.Random(3).shuffle(entries)
    table = OrcTable.parse(*encoded(entries, 3), SLOTS, TEXT)
    assert (table.start[1:] >= table.start[:-1]).all()
    assert table.frame[table.index(at)] == Frame.CALL


def test_lookup_holds_up_to_the_next_entry_and_within_the_text() -> None:
    table = OrcTable.parse(*encoded(ENTRIES, 3), SLOTS, TEXT)
    assert table.index(TEXT[0]) == table.index(TEXT[0] + 15) == 0
    assert table.index(TEXT[0] + 16) == 1
    assert table.index(TEXT[0] - 1) == table.index(TEXT[1]) == -1
    assert table.index(TEXT[1] - 1) == len(ENTRIES) - 1


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(UnwindError, match="format that this gprof does not know"):
        OrcTable.parse(*encoded(ENTRIES, 3), SLOTS, TEXT, header=bytes(20))


@pytest.mark.parametrize("cut", [(1, 0), (0, 1), (4, 0), (0, 6)])
def test_tables_that_do_not_fit_each_other_are_refused(cut: tuple[int, int]) -> None:
    distances, rows = encoded(ENTRIES, 3)
    with pytest.raises(UnwindError, match="do not fit"):
        OrcTable.parse(distances[cut[0] :], rows[cut[1] :], SLOTS, TEXT)


@given(st.binary(max_size=400), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_any_bytes_give_a_table_or_its_own_error(data: bytes, address: int, pc: int) -> None:
    count = len(data) // 10
    try:
        table = OrcTable.parse(
            data[: 4 * count], data[4 * count : 10 * count], address, (0, 1 << 64)
        )
    except UnwindError:
        return
    assert -1 <= table.index(pc) < len(table) == count
    assert set(np.unique(table.frame).tolist()) <= set(Frame)
    assert set(np.unique(table.cfa_base).tolist()) <= set(Base)


LAYOUT = ModuleLayout(list=8, text=32, text_size=40, count=48, distances=56, entries=64)
HEAD = 0xFFFF_FFFF_8300_0000


def kernel_memory(modules: int) -> dict[int, bytes]:
    """A list of modules, each with the same table."""
    distances, rows = encoded(ENTRIES, 3)
    places = [0xFFFF_FFFF_C000_0000 + 0x1000 * i for i in range(modules)]
    links = [place + LAYOUT.list for place in places]
    memory = {
        HEAD: (links[0] if links else HEAD).to_bytes(8, "little"),
        SLOTS: distances,
        SLOTS + 0x1_0000: rows,
    }
    for place, following in zip(places, [*links[1:], HEAD], strict=True):
        words = [0, following, 0, 0, TEXT[0], 0x2000, len(ENTRIES), SLOTS, SLOTS + 0x1_0000]
        memory[place] = b"".join(word.to_bytes(8, "little") for word in words)
    return memory


def test_modules_tables_are_found_in_memory() -> None:
    tables = module_tables(BytesMemory(kernel_memory(3).items()), HEAD, LAYOUT, 3)
    assert [len(table) for table in tables] == [len(ENTRIES)] * 3
    assert tables[0].covers == (TEXT[0], TEXT[0] + 0x2000)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8), st.integers(0, 2**64 - 1)), max_size=8)
)
def test_a_list_that_lies_is_walked_to_an_end(lies: list[tuple[int, int, int]]) -> None:
    memory = kernel_memory(3)
    for module, word, value in lies:
        place = 0xFFFF_FFFF_C000_0000 + 0x1000 * module
        old = bytearray(memory[place])
        old[8 * word : 8 * word + 8] = value.to_bytes(8, "little")
        memory[place] = bytes(old)
    tables = module_tables(BytesMemory(memory.items()), HEAD, LAYOUT, 3)
    assert len(tables) <= 3


def test_a_kernel_without_modules_has_no_layout() -> None:
    empty = (
        b"\x9f\xeb\x01\x00" + b"".join(n.to_bytes(4, "little") for n in (24, 0, 0, 0, 1)) + b"\0"
    )
    assert ModuleLayout.of(Btf.parse(empty)) is None
