"""Threads, stacks and prefix trees number every sample once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.profile.filter import Filter
from gprof.profile.prefix_tree import prefix_tree
from gprof.profile.profile import Profile
from gprof.profile.traces import traces
from gprof.profile.view import Group, tabulate
from tests.profiles import synthetic
from tests.unit.profile.test_view import profiles

stacks = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8).map(tuple), max_size=30)


@given(stacks)
def test_a_prefix_tree_gives_every_stack_back(given_: list[tuple[int, ...]]) -> None:
    tree = prefix_tree(given_)
    assert (tree.caller < np.arange(len(tree.caller))).all()
    for stack, end in zip(given_, tree.end.tolist(), strict=True):
        found = []
        row = end
        while row >= 0:
            found.append(int(tree.frame[row]))
            row = int(tree.caller[row])
        assert tuple(found) == stack
    beginnings = {stack[i:] for stack in given_ for i in range(len(stack))}
    assert len(tree.caller) == len(beginnings)


@given(stacks, st.integers(0, 100))
def test_reaching_is_what_lies_on_the_way(given_: list[tuple[int, ...]], pick: int) -> None:
    tree = prefix_tree(given_)
    ends = tree.end[: pick % (len(given_) + 1)]
    wanted = set()
    for end in ends.tolist():
        row = end
        while row >= 0:
            wanted.add(row)
            row = int(tree.caller[row])
    assert set(np.flatnonzero(tree.reaching(ends)).tolist()) == wanted


@settings(max_examples=40)
@given(profiles(), st.booleans())
def test_every_sample_has_its_thread_and_its_stack(profile: Profile, exact: bool) -> None:
    found = traces(profile, exact=exact)
    vcpus = {row.vcpu: row.self_weight for row in tabulate(profile, group=Group.VCPU).rows}
    if len({thread.guest for thread in found.threads}) < 2:
        assert {thread.vcpu: thread.weight for thread in found.threads} == vcpus
    assert sum(thread.weight for thread in found.threads) == found.weight
    busy = [thread.busy for thread in found.threads]
    assert busy == sorted(busy, reverse=True)
    if exact:
        leaves = [found.pcs[number][0] for number in found.stack.tolist()]
        assert leaves == profile.samples.pc.tolist()
        assert [len(stack) for stack in found.stacks] == [len(pcs) for pcs in found.pcs]
    else:
        assert len(set(found.stacks)) == len(found.stacks)


def test_rows_that_are_alike_are_merged() -> None:
    found = traces(synthetic(500, stacks=True), Filter(vcpus=frozenset({1})))
    (stack, thread), count, weight = found.merged(found.stack, found.thread)
    assert weight.sum() == count.sum() == 250
    assert len(set(zip(stack.tolist(), thread.tolist(), strict=True))) == len(stack)
    huge = found.samples.pc.astype(np.int64) & 0x7FFFFFFFFFFF
    (pc, again), count, _ = found.merged(huge, huge)
    assert pc.tolist() == again.tolist() == sorted(set(huge.tolist()))
    assert count.sum() == 250


def test_flat_profiles_stand_on_their_modules_where_addresses_are_not_asked_for() -> None:
    profile = synthetic(200)
    names = {
        tuple(found.places[frame].name for frame in stack)
        for found in (traces(profile),)
        for stack in found.stacks
    }
    assert ("default_idle", "[kernel]") in names
    assert ("[user]",) in names
    assert {len(stack) for stack in traces(profile, exact=True).stacks} == {1}


def test_one_thread_a_vcpu_of_each_guest() -> None:
    profile = synthetic(100)
    samples = replace(profile.samples, guest=profile.samples.vcpu)
    found = traces(replace(profile, samples=samples))
    assert {(thread.guest, thread.vcpu) for thread in found.threads} == {(0, 0), (1, 1)}
