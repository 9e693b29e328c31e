"""Samples are added up a piece at a time; where a piece ends is not to be seen."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.alike import Alike, Tally
from gprof.profile.resolution import Resolution
from gprof.profile.trie import Trie
from gprof.sampling.source import SampleBatch
from tests.profiles import synthetic


def groups(alike: Alike) -> list[tuple[object, ...]]:
    """The groups by what they are, for places are numbered as they come."""
    placed = alike.placement
    names = [(place.module, place.name) for place in placed.places]
    stacks = [[names[frame] for frame in frames] for frames in placed.frames]
    return sorted(
        (names[own], stacks[path] if path >= 0 else [], *rest)
        for own, path, *rest in zip(
            *(
                column.tolist()
                for column in (placed.own, placed.path, placed.mode, alike.guest, alike.vcpu)
            ),
            *(column.tolist() for column in (alike.task, alike.count, alike.weight)),
            strict=True,
        )
    )


@pytest.mark.parametrize("at_once", [1, 7, 499, 500])
def test_pieces_are_not_to_be_seen(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = synthetic(500, stacks=True)
    whole = Resolution().alike(profile)
    monkeypatch.setattr("gprof.profile.alike.AT_ONCE", at_once)
    monkeypatch.setattr("gprof.profile.resolution.AT_ONCE", at_once)
    assert groups(Resolution().alike(profile)) == groups(whole)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**32 - 1), st.integers(0, 9))))
def test_groups_are_told_apart_by_vcpu_and_task(drawn: list[tuple[int, int, int]]) -> None:
    profile = synthetic(1)
    placement = Resolution().of(profile).select(np.zeros(len(drawn), np.int64))
    samples = SampleBatch.of(
        [0] * len(drawn),
        vcpu=(vcpu for vcpu, _, _ in drawn),
        task=(task for _, task, _ in drawn),
        weight=(weight for _, _, weight in drawn),
    )
    tally = Tally()
    tally.follow(samples, placement)
    alike = tally.alike(placement)
    pairs = list(zip(alike.vcpu.tolist(), alike.task.tolist(), strict=True))
    counted = Counter((vcpu, task) for vcpu, task, _ in drawn)
    assert dict(zip(pairs, alike.count.tolist(), strict=True)) == counted
    assert len(set(pairs)) == len(pairs)
    assert alike.weight.sum() == sum(weight for _, _, weight in drawn)


@given(st.lists(st.tuples(st.text("ab", max_size=4), st.integers(1, 9))))
def test_a_tree_gives_back_its_lines(drawn: list[tuple[str, int]]) -> None:
    trie: Trie[str] = Trie()
    ends = np.array([trie.end(line) for line, _ in drawn], np.int64)
    weights = np.array([weight for _, weight in drawn], np.int64)
    wanted: Counter[str] = Counter()
    for line, weight in drawn:
        wanted[line] += weight
    found = [("".join(line), weight) for line, weight in trie.weighed(ends, weights).lines()]
    assert sorted(found) == sorted(wanted.items())
