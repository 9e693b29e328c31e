"""What the header is made of: marks, facts, bars, and the choice behind them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.guest.vcpu_threads import VcpuTime
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from tests.profiles import synthetic
from tui.choice import Choice, Order
from tui.condition import pattern_of
from tui.facts import cost_items, duration, trouble_items
from tui.glyphs import ASCII, BLOCKS, glyphs_for
from tui.picture import VcpuModes, vcpu_modes
from tui.shares import shared_out
from tui.toned import Tone, joined, width_of
from tui.view import View
from tui.widgets.vcpu_bars import vcpu_lines


@pytest.mark.parametrize(
    ("encoding", "environment", "blocks"),
    [
        ("utf-8", {}, True),
        ("UTF8", {"LANG": "en_US.UTF-8"}, True),
        ("utf-8", {"LANG": "C"}, False),
        ("utf-8", {"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ("utf-8", {"LC_ALL": "", "LANG": "de_DE.utf8@euro"}, True),
        ("utf-8", {"LC_CTYPE": "ru_RU.KOI8-R"}, False),
        ("utf-8", {"LANG": "x.no-such-charset"}, False),
        ("utf-8", {"TERM": "linux", "LANG": "C.UTF-8"}, False),
        ("latin-1", {}, False),
        (None, {}, False),
    ],
)
def test_marks_are_what_the_terminal_can_show(
    encoding: str | None, environment: dict[str, str], blocks: bool
) -> None:
    assert glyphs_for(encoding, environment) is (BLOCKS if blocks else ASCII)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (62.34, "62.3 s"), (599.9, "599.9 s"), (724, "12:04"), (3723, "1:02:03")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(int(seconds * 1e9)) == text


def plain(items: list[list[tuple[str, Tone]]]) -> str:
    return "".join(text for text, _ in joined(items))


def test_cost_is_told_beside_what_was_asked_for() -> None:
    facts = SourceFacts("gdbstub", "x", 99, 40, 10**9, 40, 20_000_000)
    assert plain(cost_items(facts, 1.0)) == "rate 40.0 of 99 Hz  halted 2.00 of 1 %"
    tones = {text: tone for item in cost_items(facts, 1.0) for text, tone in item}
    assert tones["40.0"] is Tone.WARN
    assert tones["2.00"] is Tone.WARN
    assert plain(cost_items(facts, None)) == "rate 40.0 of 99 Hz  halted 2.00 %"
    assert plain(cost_items(SourceFacts("gdbstub", "x"), None)) == "halted 0 %"
    assert plain(cost_items(SourceFacts("perf", "x"), None)) == ""  # it stops nothing


def test_troubles_are_told_with_their_most_frequent_reason() -> None:
    from gprof.profile.view import Table
    from symbols.space import Reason

    unresolved = {Reason.USER_SPACE: 50, Reason.NO_IMAGE: 3, Reason.NO_SYMBOLS: 7}
    facts = SourceFacts("gdbstub", "x", held_ns=2 * 10**9, late=1, errors=2, lost=3000)
    text = plain(trouble_items(facts, Table((), 100, 100, unresolved)))
    assert text == (
        "late 1  errors 2  lost 3,000  held 2.0 s  unresolved 10.0 % (its image has no symbols)"
    )


def test_modes_of_vcpus_are_weighed_by_guest() -> None:
    batch = SampleBatch.of(
        [1, 2, 3, 4],
        vcpu=[0, 0, 5, 0],
        guest=[0, 0, 0, 2],
        mode=[Mode.KERNEL, Mode.IDLE, Mode.UNKNOWN, Mode.USER],
        weight=[1, 10, 3, 4],
    )
    found = vcpu_modes(batch, batch.mode)
    assert [(v.guest, v.vcpu) for v in found] == [(0, 0), (0, 5), (2, 0)]
    assert found[0].weights[Mode.KERNEL] == 1
    assert found[0].weights[Mode.IDLE] == 10
    assert found[1].weights[Mode.UNKNOWN] == 3
    assert found[2].weights[Mode.USER] == 4
    assert vcpu_modes(SampleBatch.empty(), SampleBatch.empty().mode) == ()


def test_steal_stands_beside_the_bars_where_there_is_any() -> None:
    samples = synthetic(1000).samples

    def drawn(waited_ns: int) -> list[str]:
        times = {0: VcpuTime(10**9, waited_ns), 1: VcpuTime(10**9, 0)}
        facts = SourceFacts("qmp", "x", covered_ns=2 * 10**9, vcpu_times=times)
        lines = vcpu_lines(vcpu_modes(samples, samples.mode, facts), 60, 2, BLOCKS)
        return ["".join(text for text, _ in line) for line in lines]

    first, second = drawn(5 * 10**8)
    assert first.endswith(" % steal  25 %")
    assert second.endswith(" % steal   0 %")
    assert all("steal" not in line for line in drawn(0))


def test_modes_sum_to_the_samples() -> None:
    samples = synthetic(1000).samples
    found = vcpu_modes(samples, samples.mode)
    assert sum(sum(v.weights.values()) for v in found) == 1000
    assert [(v.guest, v.vcpu) for v in found] == [(0, 0), (0, 1)]


@given(
    vcpus=st.integers(1, 300),
    width=st.integers(30, 250),
    lines=st.integers(1, 8),
    guests=st.integers(1, 3),
    weights=st.lists(st.integers(0, 10**6), min_size=6, max_size=6),
    steal=st.none() | st.floats(0, 1.5),
)
@example(vcpus=225, width=30, lines=8, guests=2, weights=[0] * 6, steal=1.0)
def test_bars_fit_whatever_the_vcpus(
    vcpus: int, width: int, lines: int, guests: int, weights: list[int], steal: float | None
) -> None:
    modes = dict(zip(Mode, weights, strict=True))
    found = vcpu_lines(
        [VcpuModes(i % guests, i // guests, modes, steal) for i in range(vcpus)],
        width,
        lines,
        BLOCKS,
    )
    assert 1 <= len(found) <= lines
    assert all(width_of(line) <= width for line in found)


@given(parts=st.lists(st.integers(0, 1 << 60), max_size=6), cells=st.integers(0, 200))
def test_cells_are_shared_out_without_a_rest(parts: list[int], cells: int) -> None:
    shares = shared_out(parts, cells)
    assert sum(shares) == (cells if sum(parts) else 0)
    for part, share in zip(parts, shares, strict=True):
        assert abs(share - cells * part / max(sum(parts), 1)) <= 1


def test_patterns() -> None:
    def found(text: str, name: str) -> bool:
        pattern = pattern_of(text)
        return pattern is None or pattern.search(name) is not None

    assert pattern_of("") is None
    assert pattern_of("/") is None
    assert pattern_of("//") is None
    assert found("read", "VFS_Read")
    assert not found("Read", "vfs_read")
    assert found("a.b[", "xa.b[")
    assert not found("a.b", "axb")
    assert found("/^a.b$/", "axb")
    assert found("/^a.b$", "axb")


@given(st.text(max_size=30))
def test_any_typed_filter_is_a_pattern_or_a_sentence(text: str) -> None:
    try:
        re.compile(text[1:].removesuffix("/") if text.startswith("/") else "")
    except (re.error, OverflowError, RecursionError):
        with pytest.raises(UsageError, match="is no regular expression") as caught:
            pattern_of(text)
        assert caught.value.remedy
    else:
        pattern = pattern_of(text)
        assert pattern is None or text.startswith("/") or pattern.search(text)


def test_choices() -> None:
    profile = synthetic(4)
    assert Choice().filter_of(profile).modes == frozenset(Mode) - {Mode.IDLE}
    assert Choice().toggled(Mode.IDLE).filter_of(profile).modes is None
    assert Choice(vcpu=3).filter_of(profile).vcpus == frozenset({3})
    assert Choice().ordered(Order("symbol", reverse=True)).order == Order("symbol", reverse=True)
    assert replace(Choice().ordered(Order("x")), view=View.EXITS).order == Order()
