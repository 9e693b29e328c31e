"""When samples are taken, and how a budget bounds them."""

from __future__ import annotations

import itertools
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.dialogue import Exchange
from gprof.sampling.schedule import Schedule, affordable_hz
from gprof.sampling.stop_cost import StopCost

SECOND = 1_000_000_000


def test_spacing_is_exponential_with_the_mean_asked_for() -> None:
    schedule = Schedule(100, 0, random.Random(1))
    instants = [schedule.following(0) for _ in range(20_000)]
    gaps = [b - a for a, b in itertools.pairwise(instants)]
    assert abs(statistics.mean(gaps) / (SECOND / 100) - 1) < 0.03
    # The standard deviation of an exponential distribution is its mean.
    assert abs(statistics.stdev(gaps) / statistics.mean(gaps) - 1) < 0.05


def test_being_a_little_late_does_not_lower_the_rate() -> None:
    late, prompt = (Schedule(100, 0, random.Random(2)) for _ in range(2))
    promised = [prompt.following(0) for _ in range(100)]
    taken = []
    now = 0
    for _ in range(100):
        due = late.following(now)
        taken.append(due)
        now = max(now, due) + SECOND // 2000  # every sample takes a twentieth of the interval
    assert taken == promised


def test_samples_missed_in_a_long_gap_are_given_up() -> None:
    schedule = Schedule(100, 0, random.Random(3))
    now = 10 * SECOND
    assert schedule.following(now) > now


def test_what_comes_too_late_is_followed_by_a_fresh_interval() -> None:
    schedule = Schedule(100, 0, random.Random(4))
    mean = schedule.mean_interval_ns
    now, waits = 0, []
    for _ in range(5_000):
        now += int(3 * mean)  # every sample takes three intervals
        due = schedule.following(now)
        assert due >= now - mean
        waits.append(max(0, due - now))
        now = max(now, due)
    # Late by less than an interval now and then; else the wait is that of an exponential law.
    assert statistics.mean(waits) == pytest.approx(mean, rel=0.15)


@given(
    st.floats(0.1, 10_000),
    st.floats(0, 1e9),
    st.floats(0.0001, 1),
)
def test_the_rate_never_costs_more_than_the_budget(hz: float, stop: float, share: float) -> None:
    rate = affordable_hz(hz, stop, share)
    assert 0 < rate <= hz
    assert rate * stop / SECOND <= share * 1.000001


def timed(whole: int, stop: int, caught: bool) -> Exchange:
    return Exchange([], 0, whole - stop, whole, caught)


def test_cost_is_that_of_the_stops_that_were_caught_undisturbed() -> None:
    cost = StopCost()
    for stop, caught in [(0, False), (80, True), (79, True), (900, True), (81, True)] * 8:
        cost.add(timed(1_000, stop, caught))
    assert cost.known
    assert cost.ns == 79
    assert cost.seen == 40


def test_cost_is_bounded_by_the_quickest_exchange_where_none_was_caught() -> None:
    cost = StopCost()
    assert cost.ns == 0
    for whole in (5_000, 300, 7_000):
        cost.add(timed(whole, 0, caught=False))
    assert not cost.known
    assert cost.ns == 300
