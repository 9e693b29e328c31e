from __future__ import annotations

import contextlib
import functools
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.errors import IntrospectionError
from symbols.kallsyms import Kallsyms
from symbols.kallsyms_memory import (
    Encoding,
    KallsymsTables,
    read_kallsyms,
    tables_by_symbols,
)
from symbols.kallsyms_search import find_kallsyms
from symbols.memory import BytesMemory, MemoryFault
from symbols.symbol_lines import SymbolLines
from tests.unit.symbols.kallsyms_tables import LAYOUTS, Layout, Listed, build

START = 0xFFFF_FFFF_9C80_0000
RODATA = START + (1 << 20) + 0x4568
SIZE = 4 << 20
AN_OFFSET = st.integers(1, 300_000)


@functools.cache
def a_kernel(layout: Layout, count: int = 6_000) -> list[tuple[int, str, str]]:
    """Symbols as a kernel has them; the same in every call."""
    rng = random.Random(count)
    listed = [(START, "T", "_text"), (START, "T", "_stext")]
    if layout.encoding is Encoding.PERCPU:
        listed = [(n * 64, "A", f"percpu_{n}") for n in range(40)] + listed
    at = START
    while len(listed) < count:
        at += rng.choice((0, 16, 16, 48, 80, 112, 400))
        listed.append((at, rng.choice("tTdDrRbBwW"), f"function_number_{len(listed)}_{at:x}"))
    listed[count // 2] = (*listed[count // 2][:2], "long_" + "+-" * 90)
    return listed


@functools.cache
def a_table(layout: Layout, count: int = 6_000) -> tuple[bytes, KallsymsTables]:
    return build(a_kernel(layout, count), layout, RODATA)


def as_listed(lines: SymbolLines) -> list[tuple[int, str, str]]:
    return [
        (int(a), chr(k), lines.names[i])
        for i, (a, k) in enumerate(zip(lines.address, lines.kind, strict=True))
    ]


def memory_of(blob: bytes, at: int = RODATA) -> BytesMemory:
    """The table among what is near it in a kernel: zeros, code, other rows that rise."""
    rng = random.Random(1)
    rising = b"".join((n * 40).to_bytes(4, "little") for n in range(9000))
    low = START + 0x8000
    before = rng.randbytes(0x6000) + rising
    return BytesMemory([
        (low, before),
        (low + len(before), bytes(at - low - len(before))),
        (at, blob),
        (at + len(blob), rng.randbytes(0x3000) + bytes(0x20000)),
    ])  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read_and_found(name: str) -> None:
    listed = a_kernel(LAYOUTS[name])
    blob, tables = a_table(LAYOUTS[name])
    memory = memory_of(blob)
    assert as_listed(read_kallsyms(memory, tables, first=START)) == listed
    found, lines = find_kallsyms(memory, START, START + SIZE, first=START)
    assert found == tables
    assert as_listed(lines) == listed


@pytest.mark.parametrize(("name", "shift"), [("7.0", 0), ("7.2", 0), ("7.2", 4)])
def test_a_row_is_not_taken_four_bytes_beside_where_it_is(name: str, shift: int) -> None:
    # The first two symbols share an address, so that alone does not tell.
    layout = LAYOUTS[name]
    blob, tables = build(a_kernel(layout), layout, RODATA + shift)
    assert find_kallsyms(memory_of(blob, RODATA + shift), START, START + SIZE)[0] == tables


@pytest.mark.parametrize("name", ["6.1 x86", "6.1 s390", "7.0"])
def test_found_without_knowing_where_the_kernel_begins(name: str) -> None:
    blob, tables = a_table(LAYOUTS[name])
    found, _ = find_kallsyms(memory_of(blob), START, START + SIZE)
    assert found == tables


def test_a_table_of_another_kernel_is_refused() -> None:
    blob, tables = a_table(Layout())
    memory = memory_of(blob)
    with pytest.raises(IntrospectionError, match="not that of its kernel"):
        read_kallsyms(memory, tables, first=START + 0x20_0000)
    with pytest.raises(IntrospectionError, match="not that of its kernel"):
        find_kallsyms(memory, START, START + SIZE, first=START + 0x20_0000)


def test_memory_without_a_table_has_none() -> None:
    with pytest.raises(IntrospectionError, match="no table of symbols"):
        find_kallsyms(memory_of(b""), START, START + SIZE)


class Holes:
    """Memory with pages that cannot be read, and a count of what was."""

    def __init__(self, inner: BytesMemory, holes: range) -> None:
        self._inner = inner
        self._holes = holes
        self.asked = 0

    def read(self, address: int, size: int) -> bytes:
        self.asked += size
        if address < self._holes.stop and address + size > self._holes.start:
            raise MemoryFault(address, size)
        return self._inner.read(address, size)


def test_search_passes_over_holes_and_reads_little() -> None:
    listed = a_kernel(Layout())
    at = START + (24 << 20)
    blob, tables = build(listed, Layout(), at)
    memory = Holes(memory_of(blob, at), range(START + 0x10000, START + 0x400000))
    found, _ = find_kallsyms(memory, START, START + (64 << 20), first=START)
    assert found == tables
    assert memory.asked < 4 << 20


@pytest.mark.parametrize("name", ["4.4", "4.6 x86", "6.1 s390", "6.6 x86", "7.0"])
def test_parts_are_known_by_their_symbols(name: str) -> None:
    layout = LAYOUTS[name]
    blob, tables = a_table(layout, 400)
    number = RODATA if layout.late else tables.names - 8
    base = tables.values + -(-400 * 4 // 8) * 8
    known = {
        "kallsyms_names": tables.names,
        "kallsyms_num_syms": number,
        "kallsyms_token_table": tables.token_table,
        "kallsyms_token_index": tables.token_index,
        "kallsyms_addresses" if tables.wide else "kallsyms_offsets": tables.values,
    }
    if tables.base is not None:
        known["kallsyms_relative_base"] = base
    memory = memory_of(blob)
    assert tables_by_symbols(memory, known.get, little_endian=layout.little) == tables
    del known["kallsyms_names"]
    assert tables_by_symbols(memory, known.get) is None


def test_functions_of_the_table_resolve() -> None:
    listed = [(START, "T", "_stext"), *((START + n * 32, "t", f"f{n}") for n in range(1, 300))]
    blob, tables = build(listed, LAYOUTS["6.12 arm64"], RODATA)
    kallsyms = Kallsyms.of(read_kallsyms(memory_of(blob), tables), path="guest memory")
    assert kallsyms.text == (START, START + 0x4000)
    assert kallsyms.address_of("f7") == START + 7 * 32


@given(
    names=st.lists(
        st.tuples(
            AN_OFFSET, st.sampled_from("tTdrW?"),
            st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200),
        ),
        max_size=6,
    ),
    layout=st.sampled_from(sorted(LAYOUTS)),
)  # fmt: skip
@settings(max_examples=60)
def test_any_names_come_back(names: Listed, layout: str) -> None:
    odd = [(START + offset, kind, name) for offset, kind, name in names]
    even = [(START + n * 16, "t", f"function_{n}") for n in range(1, 300)]
    listed = [(START, "T", "_stext"), *sorted([*even, *odd], key=lambda one: one[0])]
    blob, tables = build(listed, LAYOUTS[layout], RODATA)
    assert as_listed(read_kallsyms(memory_of(blob), tables, first=START)) == listed


@given(st.data())
@settings(max_examples=80)
def test_damaged_tables_are_refused_or_read(data: st.DataObject) -> None:
    layout = LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))]
    blob, tables = a_table(layout, 400)
    damaged = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IntrospectionError):
        read_kallsyms(memory_of(bytes(damaged)), tables)


WORD = st.integers(-(1 << 64), 1 << 65)


@settings(max_examples=50)
@given(st.tuples(WORD, WORD, WORD, WORD), st.integers(-5, 1 << 70), st.booleans())
def test_places_that_lie_are_refused(
    places: tuple[int, int, int, int], count: int, wide: bool
) -> None:
    names, table, index, values = places
    blob, tables = a_table(Layout(), 400)
    memory = memory_of(blob)
    for lie in (
        KallsymsTables(names, count, table, index, values, None, wide),
        replace(tables, values=values, base=names),
        replace(tables, count=count, wide=wide),
    ):
        with contextlib.suppress(IntrospectionError):
            read_kallsyms(memory, lie)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_search_in_damaged_memory_ends(data: st.DataObject) -> None:
    layout = LAYOUTS[data.draw(st.sampled_from(["6.1 x86", "7.0", "4.4"]))]
    blob, _ = a_table(layout)
    damaged = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(blob) - 1))
        part = data.draw(st.binary(min_size=1, max_size=40))
        damaged[at : at + len(part)] = part
    with contextlib.suppress(IntrospectionError):
        find_kallsyms(memory_of(bytes(damaged)), START, START + SIZE, first=START)
