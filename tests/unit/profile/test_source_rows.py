"""Source beside instructions, and samples by line and function."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.hits import Totals
from gprof.profile.listing import Line, Listing
from gprof.profile.source_rows import SourceRow, folded, interleaved
from symbols.lines import Chain, SourceFrame
from symbols.space import ImageKind, LoadedImage, SymbolAt
from symbols.table import Symbol

AT = SymbolAt(Symbol("f", 0, 100), LoadedImage("k", ImageKind.KERNEL, 0, 100))


def own(line: int) -> SourceFrame:
    return SourceFrame("f", "f.c", line)


def inner(line: int) -> SourceFrame:
    return SourceFrame("g", "g.h", line)


def listing(*lines: tuple[Chain, int]) -> Listing:
    """One instruction for each chain, with as many samples."""
    made = tuple(
        Line(i, b"\x90", "", "", samples, samples, chain=chain)
        for i, (chain, samples) in enumerate(lines)
    )
    total = sum(samples for _, samples in lines)
    return Listing(AT, 0, made, Totals(total, total, total, total, total))


def texts(file: str, line: int) -> str | None:
    return f"{file} {line}" if file == "f.c" and line != 3 else None


def test_a_row_comes_where_the_source_changes() -> None:
    rows = list(
        interleaved(
            listing(
                ((own(1),), 0), ((own(1),), 0), ((inner(5), own(4)), 0), ((), 0), ((own(1),), 0)
            ),
            texts,
        )
    )
    shape = [
        (row.frame.line, row.callers, row.text) if isinstance(row, SourceRow) else row.address
        for row in rows
    ]
    assert shape == [
        (1, (), "f.c 1"), 0, 1, (5, (own(4),), None), 2, 3, (1, (), "f.c 1"), 4,
    ]  # fmt: skip
    assert isinstance(rows[3], SourceRow)
    assert rows[3].origin == "g g.h:5 < f f.c:4"


def test_lines_that_made_no_instructions_are_shown_on_the_way() -> None:
    rows = list(interleaved(listing(((own(1),), 0), ((own(5),), 0), ((own(40),), 0)), texts))
    assert [(row.frame.line, row.leads) for row in rows if isinstance(row, SourceRow)] == [
        (1, True), (2, False), (4, False), (5, True), (40, True),
    ]  # fmt: skip


def test_sums() -> None:
    sums = folded(
        listing(
            ((own(7),), 1), ((inner(5), own(4)), 2), ((inner(6), own(4)), 3), ((own(4),), 4),
            ((), 50), ((own(9),), 0),
        ),
        texts,
    )  # fmt: skip
    assert [
        (one.frame.function, one.frame.line, one.weight, one.total_weight, one.first)
        for one in sums
    ] == [
        ("f", 0, 5, 10, 0), ("f", 4, 4, 9, 1), ("f", 7, 1, 1, 0),
        ("g", 0, 5, 5, 1), ("g", 5, 2, 2, 1), ("g", 6, 3, 3, 2),
    ]  # fmt: skip
    assert [one.inlined for one in sums] == [False] * 3 + [True] * 3
    assert sums[1].text == "f.c 4"
    assert len(folded(listing(((own(7),), 1)), texts, by_line=False)) == 1
    cold = listing(((own(7),), 0), ((inner(5), own(7)), 0))
    assert [one.frame.function for one in folded(cold, texts)] == ["f", "g"]
    warm = listing(((own(7),), 1), ((inner(5), own(7)), 0))
    assert [one.frame.function for one in folded(warm, texts, by_line=False)] == ["f"]


FRAMES = st.builds(
    SourceFrame, st.sampled_from("fgh"), st.sampled_from(["a.c", "b.h"]), st.integers(1, 5)
)


@given(st.lists(st.tuples(st.lists(FRAMES, max_size=3).map(tuple), st.integers(0, 9)), max_size=12))
def test_no_sample_is_counted_twice(lines: list[tuple[Chain, int]]) -> None:
    made = listing(*lines)
    known = sum(samples for chain, samples in lines if chain)
    functions = folded(made, texts, by_line=False)
    assert sum(one.weight for one in functions) == known
    assert all(one.weight <= one.total_weight <= known for one in functions)
    by_line = [one for one in folded(made, texts) if one.frame.line]
    assert sum(one.weight for one in by_line) == known
    assert all(one.weight <= one.total_weight <= known for one in by_line)
    assert [row for row in interleaved(made, texts) if isinstance(row, Line)] == list(made.lines)
