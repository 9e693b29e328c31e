"""Samples by their lines of source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.view import Filter, Group, Table, tabulate
from gprof.sampling.source import Mode, SampleBatch, UInt64s
from symbols.source_frames import SourceFrame
from symbols.space import AddressSpace
from tests.profiles import synthetic
from tests.unit.profile.test_view import FILTERS, profiles


class Learning:
    """Knows the lines of some addresses, and more later."""

    def __init__(self, known: int) -> None:
        self.known = known

    def at(self, _: AddressSpace, pcs: UInt64s) -> Sequence[SourceFrame | str | None]:
        return [self._line(pc) for pc in pcs.tolist()]

    def _line(self, pc: int) -> SourceFrame | str | None:
        if pc % 7 >= self.known:
            return None
        # Neighbours share a line; some have none.
        return SourceFrame("f", "a.c", pc >> 6 & 0xFFFF) if pc % 3 else "no file was given"


def weights(table: Table) -> dict[tuple[str, str, Mode, int], int]:
    return {(r.label, r.module, r.mode, r.guest): r.self_weight for r in table.rows}


@settings(max_examples=40)
@given(profiles(), FILTERS, st.integers(0, 7), st.integers(0, 7), st.integers(0, 16))
def test_lines_that_come_later_are_those_of_a_first_look(
    profile: Profile, chosen: Filter, first: int, more: int, cut: int
) -> None:
    lines, known = Learning(first), Resolution()
    some = SampleBatch(*(getattr(profile.samples, n)[:cut] for n in SampleBatch.__slots__))
    before = tabulate(replace(profile, samples=some), chosen, Group.LINE, known, lines=lines)
    assert sum(weights(before).values()) == before.weight
    lines.known = max(first, more)
    again = tabulate(profile, chosen, Group.LINE, known, lines=lines)
    afresh = tabulate(profile, chosen, Group.LINE, lines=lines)
    assert weights(again) == weights(afresh)
    assert sum(weights(again).values()) == again.weight == tabulate(profile, chosen).weight
    waiting = any("looked for" in row.label for row in again.rows)
    assert not (waiting and lines.known == 7)


def test_rows_of_lines_lead_to_their_function() -> None:
    profile = synthetic(500)
    table = tabulate(profile, group=Group.LINE, lines=Learning(7))
    lines = [row for row in table.rows if row.frame is not None]
    assert lines
    starts = {row.address: row.symbol for row in tabulate(profile).rows if row.symbol}
    assert {row.address: row.symbol for row in lines if row.symbol}.items() <= starts.items()
    assert all(row.label == f"a.c:{row.frame.line or '?'}" for row in lines if row.frame)
    others = [row for row in table.rows if row.frame is None]
    assert {row.label for row in others} == {"no file was given"}
    assert not any(row.symbol or row.address for row in others)


def test_without_anybody_who_tells_lines_rows_say_so() -> None:
    rows = tabulate(synthetic(100), group=Group.LINE).rows
    assert {row.label for row in rows} == {"lines are not looked up here"}
