from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.names import Names
from symbols.table import Symbol, SymbolTable

WIDTH = 200


@st.composite
def tables(draw: st.DrawFn) -> SymbolTable:
    """Disjoint functions, some with labels nested in them one deep."""
    symbols: list[Symbol] = []
    at = draw(st.integers(0, 5))
    while at < WIDTH and len(symbols) < 12:
        size = draw(st.integers(1, 60))
        symbols.append(Symbol(f"f{at}", at, at + size))
        if size > 2 and draw(st.booleans()):
            start = draw(st.integers(at + 1, at + size - 1))
            end = draw(st.integers(start + 1, at + size))
            symbols.append(Symbol(f"l{start}", start, end))
        at += size + draw(st.integers(0, 20))
    return SymbolTable.of(symbols)


def naive(table: SymbolTable, address: int) -> int:
    starts, ends = table.start.tolist(), table.end.tolist()
    holding = [i for i in range(len(table)) if starts[i] <= address < ends[i]]
    return max(holding, default=-1)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_lookup_is_the_innermost_symbol_that_holds_the_address(table: SymbolTable) -> None:
    addresses = np.arange(WIDTH + 70, dtype=np.uint64)
    expected = [naive(table, address) for address in range(WIDTH + 70)]
    assert table.lookup(addresses).tolist() == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 2), unique=True), st.data())
def test_lookup_over_the_whole_address_space(starts: list[int], data: st.DataObject) -> None:
    starts.sort()
    bounds = [*starts[1:], (1 << 64) - 1]
    table = SymbolTable.of(
        [Symbol(str(s), s, data.draw(st.integers(s + 1, max(b, s + 1))))
         for s, b in zip(starts, bounds, strict=False)]
    )  # fmt: skip
    probes = sorted(
        {p for i in range(len(table)) for s in [table[i]] for p in (s.start, s.end - 1, s.end)}
        | {0, (1 << 64) - 1}
    )
    found = table.lookup(np.array(probes, np.uint64)).tolist()
    assert found == [naive(table, probe) for probe in probes]


def test_an_empty_table() -> None:
    table = SymbolTable.empty()
    assert len(table) == 0
    assert table.lookup(np.array([0, 5], np.uint64)).tolist() == [-1, -1]


def test_of_keeps_the_first_of_equal_starts() -> None:
    table = SymbolTable.of([Symbol("b", 8, 9), Symbol("first", 4, 6), Symbol("second", 4, 8)])
    assert [table[i].name for i in range(len(table))] == ["first", "b"]
    assert isinstance(table.names, Names)
