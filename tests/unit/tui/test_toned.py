"""Text in tones: what is cut, what is padded, what is made safe."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from symbols.names import printable
from tui.toned import Piece, Tone, fit, joined, lay, width_of

PIECES = st.lists(st.tuples(st.text(max_size=20), st.sampled_from(Tone)), max_size=5)


def test_text_is_cut_by_cells() -> None:
    assert fit("abcdef", 6) == "abcdef"
    assert fit("abcdef", 5) == "abcd…"
    assert fit("abcdef", 5, "~") == "abcd~"
    assert fit("ab", 5) == "ab   "
    assert fit("ab", 5, right=True) == "   ab"
    assert fit("漢字漢字", 8) == "漢字漢字"
    assert fit("漢字漢字", 6) == "漢字 …"
    assert fit("abc", 0) == ""
    assert fit("abc", -3) == ""


def test_what_a_terminal_would_obey_is_shown_as_text() -> None:
    assert fit("\x1b[31mred", 12) == "\\x1b[31mred "
    assert fit("a\u202eb", 9) == "a\\u202eb "
    assert fit("two\nlines", 12) == "two\\x0alines"


@given(text=st.text(max_size=50), width=st.integers(-1, 30), right=st.booleans())
def test_fitted_text_has_exactly_its_width(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(text, width, right=right)) == max(width, 0)


@given(left=PIECES, right=PIECES, width=st.integers(0, 60))
def test_a_line_has_exactly_its_width(left: list[Piece], right: list[Piece], width: int) -> None:
    line = lay(left, right, width)
    assert width_of(line) == width
    assert all(printable(text) == text for text, _ in line)


def test_the_right_side_stays_whole() -> None:
    line = lay([("a long left side", Tone.DIM)], [("right", Tone.GOOD)], 12)
    assert line == [("a lon…", Tone.DIM), (" ", Tone.PLAIN), ("right", Tone.GOOD)]


def test_items_are_joined_with_gaps_but_not_around_nothing() -> None:
    a, b = ("a", Tone.PLAIN), ("b", Tone.DIM)
    assert joined([[a], [], [b, a]]) == [a, ("  ", Tone.PLAIN), b, a]
