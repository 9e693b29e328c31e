"""Arrows beside instructions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.jumps import MOST_LANES, TYPED, arrows, jumps_in
from gprof.profile.listing import Line
from symbols.disassembly import Flow


def lines(*targets: int | None, flow: Flow = Flow.JUMP) -> list[Line]:
    """One line a byte, each jumping to the line of that number, or nowhere."""
    return [
        Line(i, b"\x90", "", "", flow=flow if target is not None else Flow.NEXT, target=target)
        for i, target in enumerate(targets)
    ]


def test_without_jumps_there_is_nothing_to_draw() -> None:
    assert arrows(lines(None, None)) == ["", ""]
    assert arrows(lines(9, 0, flow=Flow.CALL)) == ["", ""]
    assert arrows(lines(0)) == [""]  # to itself
    assert arrows([]) == []


def test_forward_and_back() -> None:
    assert arrows(lines(2, None, None)) == ["┌─", "│ ", "└▸"]
    assert arrows(lines(None, None, 0)) == ["┌▸", "│ ", "└─"]


def test_jumps_to_the_same_line_share_a_lane() -> None:
    assert arrows(lines(3, None, 3, None, 3), TYPED) == [",-", "| ", "+-", "+>", "'-"]


def test_arrows_cross() -> None:
    assert arrows(lines(3, 4, None, None, None)) == [" ┌─", "┌┼─", "││ ", "│└▸", "└─▸"]


def test_there_are_no_more_lanes_than_wanted() -> None:
    nested = lines(*(19 - i for i in range(10)), *([None] * 10))
    assert {len(row) for row in arrows(nested)} == {MOST_LANES + 1}
    assert {len(row) for row in arrows(nested, most=2)} == {3}


def test_code_that_is_nothing_but_jumps_is_drawn_too() -> None:
    many = 20_000
    drawn = arrows(lines(*(many - 1 - i for i in range(many))))
    assert len(drawn) == many


@given(st.lists(st.none() | st.integers(0, 14), min_size=1, max_size=15))
def test_every_drawn_jump_is_connected(targets: list[int | None]) -> None:
    listed = lines(*targets)
    drawn = arrows(listed, TYPED, most=15)
    assert len({len(row) for row in drawn}) == 1
    for jump in jumps_in(listed):
        assert drawn[jump.target].endswith(">")
        assert drawn[jump.source].endswith(("-", ">"))
        first, last = jump.span
        for row in drawn[first : last + 1]:
            assert row.strip()
