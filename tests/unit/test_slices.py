"""The comparison of states that take turns: what it finds in counters that are made up."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np

from benchmarks.slices import Counters, Interval, Pairs

TIME, DONE = 0, 1


def slower(without: Counters, within: Counters) -> Counters:
    rates = [sums[..., DONE] / sums[..., TIME] for sums in (without, within)]
    return 100 * (rates[0] / rates[1] - 1)


def made_up(count: int, cost: float) -> Pairs:
    """Pairs on a host whose speed wanders by a factor of two, from a seed that never changes."""
    chance = np.random.default_rng(1)
    pairs = Pairs(random.Random(1))
    speed = 1.0

    def slice_of(state: bool) -> Counters:
        nonlocal speed
        speed = float(np.clip(speed * chance.normal(1, 0.05), 0.7, 1.4))
        return np.array([0.1, 1000 * speed * (1 - cost * state)])

    for _ in range(count):
        pairs.take(slice_of)
    return pairs


def test_a_difference_is_found_in_noise_that_is_larger() -> None:
    found = made_up(2000, 0.05).compare(slower)
    assert found.low < 100 * (1 / 0.95 - 1) < found.high
    assert found.high - found.low < 1.0


def test_no_difference_is_found_where_there_is_none() -> None:
    found = made_up(2000, 0.0).compare(slower)
    assert found.low < 0 < found.high


def test_each_state_comes_first_about_as_often() -> None:
    order: list[bool] = []

    def slice_of(state: bool) -> Counters:
        order.append(state)
        return np.array([0.1, 1.0])

    pairs = Pairs(random.Random(1))
    for _ in range(400):
        pairs.take(slice_of)
    assert len(pairs) == 400
    assert all(order[i] != order[i + 1] for i in range(0, 800, 2))
    assert 150 < sum(order[::2]) < 250


def always(*counters: float) -> Callable[[bool], Counters]:
    return lambda _: np.array(counters)


def test_slices_in_which_nothing_was_done_do_not_spoil_the_interval() -> None:
    pairs = Pairs(random.Random(1))
    for done in (0.0, 0.0, 10.0):
        pairs.take(always(0.1, done))
    found = pairs.compare(slower)
    assert (found.middle, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_target_is_judged_by_the_whole_interval() -> None:
    assert Interval(1.0, 0.5, 2.0).holds(2.0) == "met"
    assert Interval(3.0, 2.1, 4.0).holds(2.0) == "missed"
    assert Interval(1.0, 0.5, 2.1).holds(2.0) == "not settled"
