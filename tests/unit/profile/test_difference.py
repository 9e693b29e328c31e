"""Comparing profiles: what changed, by how much, and whether anybody can tell."""

from __future__ import annotations

import random
from dataclasses import replace
from math import comb, isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.profile.difference import (
    Difference,
    DifferenceNode,
    Scale,
    Verdict,
    difference,
    difference_tree,
    wilson,
)
from gprof.profile.filter import Filter
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode, SampleBatch
from tests.profiles import KERNEL, synthetic
from tests.unit.profile.test_view import profiles

counts = st.integers(0, 10_000)


def by_name(found: Difference) -> dict[tuple[str, str], tuple[float, ...]]:
    return {
        (row.name, row.module): (
            row.own.change, row.own.low, row.own.high,
            row.total.change, row.total.low, row.total.high,
        )
        for row in found.rows
    }  # fmt: skip


def samples_of(*counts_: int) -> Profile:
    """So many samples in each of some functions."""
    starts = [KERNEL, KERNEL + 0x70, KERNEL + 0x160, KERNEL + 0x1F0]
    pcs = [start + 4 for start, count in zip(starts, counts_, strict=False) for _ in range(count)]
    return replace(synthetic(0), samples=SampleBatch.of(pcs))


@settings(max_examples=30)
@given(profiles(), profiles())
def test_it_is_antisymmetric(before: Profile, after: Profile) -> None:
    there, back = by_name(difference(before, after)), by_name(difference(after, before))
    assert there.keys() == back.keys()
    for key, (own, low, high, total, total_low, total_high) in there.items():
        turned = (-own, -high, -low, -total, -total_high, -total_low)
        assert all(isclose(a, b, abs_tol=1e-12) for a, b in zip(turned, back[key], strict=True))


@settings(max_examples=30)
@given(profiles())
def test_a_profile_does_not_differ_from_itself(profile: Profile) -> None:
    for row in difference(profile, profile).rows:
        assert (row.own.change, row.total.change) == (0, 0)
        assert row.own.verdict is row.total.verdict is Verdict.NOISE


@settings(max_examples=30)
@given(profiles(), profiles())
def test_the_changes_of_self_add_up_to_nothing(before: Profile, after: Profile) -> None:
    found = difference(before, after)
    if found.scale.before and found.scale.after:
        assert isclose(sum(row.own.change for row in found.rows), 0, abs_tol=1e-9)
    assert sum(row.own.before for row in found.rows) == found.scale.before
    assert sum(row.own.after for row in found.rows) == found.scale.after


@given(counts, counts, counts, counts)
def test_the_interval_holds_the_change(a: int, b: int, more_a: int, more_b: int) -> None:
    scale = Scale(a + more_a, b + more_b, a + more_a, b + more_b)
    change = scale.change(a, b)
    assert -1 - 1e-9 <= change.low <= change.change <= change.high <= 1 + 1e-9
    turned = Scale(scale.after, scale.before, scale.after, scale.before).change(b, a)
    opposite = {Verdict.NEW: Verdict.VANISHED, Verdict.MORE: Verdict.LESS}
    opposite |= {value: key for key, value in opposite.items()}
    assert turned.verdict is opposite.get(change.verdict, change.verdict)


def test_newcombe_s_own_example() -> None:
    """56 of 70 against 48 of 80, and 0 of 10 against 0 of 20: table II of the paper, method 10."""
    for (a, m), (b, n), (low, high) in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
    ):
        change = Scale(n, m, n, m, 0.95).change(b, a)
        assert (round(change.low, 4), round(change.high, 4)) == (low, high)


@pytest.mark.parametrize("samples", [20, 200])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.5])
def test_wilson_s_interval_holds_the_truth_as_often_as_it_says(samples: int, share: float) -> None:
    """Counted exactly: the chance of each outcome whose interval holds the true share."""
    held = sum(
        comb(samples, k) * share**k * (1 - share) ** (samples - k)
        for k in range(samples + 1)
        if wilson(k / samples, samples, 1.96)[0] <= share <= wilson(k / samples, samples, 1.96)[1]
    )
    assert held > 0.92


def test_two_profiles_of_the_same_guest_hardly_differ() -> None:
    """Twice the same work sampled: few functions may seem to change, whatever the seed."""
    seeming = tried = 0
    for seed in range(10):
        found = difference(synthetic(1000, seed=seed), synthetic(1000, seed=seed + 100))
        tried += len(found.rows)
        seeming += sum(row.own.verdict is not Verdict.NOISE for row in found.rows)
    assert seeming < 0.03 * tried


def test_what_is_new_and_what_vanished() -> None:
    found = difference(samples_of(500, 500, 100, 0), samples_of(500, 100, 100, 400))
    verdicts = {row.name: row.own.verdict for row in found.rows}
    assert verdicts == {
        "startup_64": Verdict.NOISE,
        "secondary_startup_64_no_verify": Verdict.LESS,
        "entry_SYSCALL_64_after_hwframe": Verdict.NOISE,
        "do_syscall_64": Verdict.NEW,
    }
    back = difference(samples_of(0, 10, 0, 400), samples_of(500, 10))
    assert {row.name: row.own.verdict for row in back.rows}["do_syscall_64"] is Verdict.VANISHED
    assert [row.name for row in found.rows[:2]] == [
        "do_syscall_64", "secondary_startup_64_no_verify",
    ]  # fmt: skip


def test_a_single_new_sample_is_noise() -> None:
    found = difference(samples_of(500), samples_of(500, 1))
    assert {row.own.verdict for row in found.rows} == {Verdict.NOISE}


def test_profiles_of_different_length_are_compared_by_share() -> None:
    found = difference(samples_of(100, 100), samples_of(1000, 1000))
    assert [row.own.change for row in found.rows] == [0, 0]


def test_addresses_without_an_image_are_one_row() -> None:
    """The same page has another address in the next boot."""
    first, second = (
        replace(synthetic(0), samples=SampleBatch.of([0xFFFFC90000000000 + page] * 10))
        for page in (0x1000, 0x700000)
    )
    assert [(row.name, row.own.change) for row in difference(first, second).rows] == [
        ("[unknown]", 0),
    ]


def test_unequal_weights_make_shares_less_sure() -> None:
    even = samples_of(50, 50)
    weights = random.Random(0).choices([1, 1000], k=100)
    uneven = replace(even, samples=SampleBatch.of(even.samples.pc.tolist(), weight=weights))
    sure = difference(even, even).rows[0].own
    unsure = difference(even, uneven).rows[0].own
    assert unsure.high - unsure.low > sure.high - sure.low


def test_only_what_is_chosen_is_compared() -> None:
    chosen = Filter(modes=frozenset({Mode.KERNEL}))
    first, second = synthetic(500), synthetic(300, seed=1)
    found = difference(first, second, chosen)
    assert found.scale.before == tabulate(first, chosen).weight
    assert found.scale.after == tabulate(second, chosen).weight
    assert "[user]" not in {row.name for row in found.rows}


def test_the_tree_holds_every_call_of_both() -> None:
    first, second = synthetic(500, stacks=True), synthetic(900, stacks=True, seed=1)
    root = difference_tree(first, second)
    assert root.total == DifferenceNode.WHOLE
    assert (root.change.before, root.change.after) == (500, 900)
    nodes = list(root.walk())
    for node in nodes:
        children = node.children()
        assert sum(child.total for child in children) <= node.total
        assert sum(child.change.before for child in children) <= node.change.before
    own = [
        sum(side.own for node in nodes if (side := getattr(node, name)))
        for name in ("before", "after")
    ]
    assert own == [500, 900]


def test_nothing_compares_with_something() -> None:
    root = difference_tree(synthetic(0), synthetic(100, stacks=True))
    assert root.total == DifferenceNode.WHOLE // 2
    assert {node.change.verdict for node in root.walk()} == {Verdict.NOISE}
    assert difference(synthetic(0), synthetic(0)).rows == ()


def test_trees_of_calls_and_of_modules_have_nothing_in_common() -> None:
    with pytest.raises(UsageError) as caught:
        difference_tree(synthetic(100, stacks=True), synthetic(100))
    assert "first recording has call stacks" in caught.value.problem
