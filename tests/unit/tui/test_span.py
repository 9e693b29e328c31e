"""Everything, a sliding window, decay, and a period that was picked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from tests.profiles import synthetic
from tui.choice import Choice
from tui.pills import picked_text
from tui.span import LENGTHS, Horizon, Span
from tui.timeline import EMPTY, timeline_of


def profile_at(seconds: list[float], weight: int = 1) -> Profile:
    times = [int(s * 1e9) for s in seconds]
    pcs = [0x1000] * len(times)
    return Profile(SampleBatch.of(pcs, time=times, weight=weight), SourceFacts("t", "t"), {}, {})


def weight_of(profile: Profile, span: Span) -> tuple[int, int]:
    """Weight of what counts, and its scale."""
    seen = span.seen(profile)
    choice = Choice(span=span, hidden=frozenset())
    return tabulate(seen.profile, choice.filter(seen)).weight, seen.scale


def test_everything() -> None:
    assert weight_of(profile_at([0, 5, 100]), Span()) == (3, 1)


def test_a_window_ends_with_the_newest_sample() -> None:
    profile = profile_at([0, 5, 95, 95.5, 100])
    assert weight_of(profile, Span(Horizon.WINDOW, 5.0)) == (2, 1)  # 95 is 5 s old: no longer in
    assert weight_of(profile, Span(Horizon.WINDOW, 10.0)) == (3, 1)


def test_decay_halves_by_age() -> None:
    weight, scale = weight_of(profile_at([90, 100]), Span(Horizon.DECAY, 10.0))
    assert weight == scale + scale // 2
    weight, scale = weight_of(profile_at([80, 90, 100]), Span(Horizon.DECAY, 10.0))
    assert weight == scale + scale // 2 + scale // 4


def test_decay_of_large_periods_stays_within_32_bits() -> None:
    weight, scale = weight_of(profile_at([0, 10], 4_000_000_000), Span(Horizon.DECAY, 10.0))
    assert scale == 1
    assert weight == 6_000_000_000


def test_a_picked_period_wins() -> None:
    profile = profile_at([1, 2, 3, 100])
    span = Span(Horizon.WINDOW, 1.0, (2 * 10**9, 3 * 10**9))
    assert weight_of(profile, span) == (1, 1)


def test_no_samples_are_no_trouble() -> None:
    empty = profile_at([])
    for horizon in Horizon:
        assert weight_of(empty, Span(horizon)) == (0, 1)


def test_lengths_and_horizons_go_on() -> None:
    span = Span()
    for _ in range(20):
        span = span.stretched(1)
    assert span.length_s == LENGTHS[-1]
    for _ in range(20):
        span = span.stretched(-1)
    assert span.length_s == LENGTHS[0]
    seen = []
    for _ in range(4):
        span = span.next_horizon()
        seen.append(span.horizon)
    assert seen == [Horizon.WINDOW, Horizon.DECAY, Horizon.EVERYTHING, Horizon.WINDOW]


@given(
    st.lists(st.integers(0, 10**13), max_size=60),
    st.integers(1, 200),
    st.integers(0, 2**62),
)
def test_a_timeline_has_every_sample_in_a_bucket(times: list[int], most: int, start: int) -> None:
    samples = SampleBatch.of([1] * len(times), time=[start + t for t in times])
    modes = np.full(len(times), Mode.KERNEL, np.uint8)
    line = timeline_of(samples, modes, most)
    assert len(line) <= most
    for time in samples.time.tolist():
        bucket = line.bucket(time)
        assert line.time(bucket) <= time < line.time(bucket + 1)
        assert line.busy[bucket] == 1.0
    if not times:
        assert line is EMPTY


def test_a_timeline_tells_idle_from_busy_and_from_nothing() -> None:
    samples = SampleBatch.of(
        [1] * 5, time=[0, 10, 100_000_000, 100_000_001, 900_000_000], weight=[1, 1, 3, 1, 1]
    )
    modes = np.array([Mode.IDLE, Mode.IDLE, Mode.USER, Mode.IDLE, Mode.KERNEL], np.uint8)
    line = timeline_of(samples, modes, 10)
    assert line.bucket_ns == 100_000_000
    assert line.busy[0] == 0
    assert line.busy[1] == 0.75
    assert np.isnan(line.busy[2:9]).all()
    assert line.busy[9] == 1


def test_a_growing_timeline_keeps_what_it_showed() -> None:
    samples = synthetic(2000).samples
    modes = samples.mode
    some = samples.select(np.arange(len(samples)) < 1800)
    before, after = timeline_of(some, modes[:1800], 100), timeline_of(samples, modes, 100)
    assert before.bucket_ns == after.bucket_ns
    assert np.array_equal(before.busy[:-1], after.busy[: len(before) - 1], equal_nan=True)


def test_periods_are_told_from_the_first_sample() -> None:
    start = 5 * 10**9
    assert picked_text((start + 10**9, start + 3 * 10**9), start) == "1.0 to 3.0 s"
    assert picked_text((start, start + 2 * 10**8), start) == "0.00 to 0.20 s"
    span = replace(Span(), picked=(start, start + 1))
    assert span.seen(profile_at([5])).since_ns == start
