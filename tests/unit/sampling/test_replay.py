"""A recording is played back whole, at its pace, and ends when it is told to."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.vcpu_threads import VcpuTime
from gprof.sampling.replay import Replay
from gprof.sampling.source import SampleBatch, Source, SourceFacts
from tests.profiles import synthetic
from tests.waiting import PATIENCE


class Time:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def wait(self, closed: Event, seconds: float) -> bool:
        self.now += seconds
        return closed.is_set()


class Taken:
    """The least that can be replayed."""

    def __init__(self, *times: int) -> None:
        self.samples = SampleBatch.of(range(len(times)), time=times)
        self.facts = SourceFacts("qmp", "vm", covered_ns=1000, taken=len(times))


@pytest.mark.parametrize("pace", [0.5, 1.0, 8.0])
def test_it_takes_as_long_as_it_took(pace: float) -> None:
    profile = synthetic(400)
    fake = Time()
    source: Source = Replay(profile, pace, clock=fake.clock, wait=fake.wait)
    pcs = []
    first = int(profile.samples.time[0])
    for batch in source.batches():
        played = (fake.now - 100.0) * pace * 1e9
        # Nothing comes before its time, and nothing is more than one step late.
        assert all(0 <= played - (int(t) - first) <= 3e8 for t in batch.time)
        pcs += batch.pc.tolist()
    assert pcs == profile.samples.pc.tolist()
    assert source.facts().taken == profile.facts.taken
    assert source.facts().way == "replay"


@pytest.mark.parametrize("pace", [0.0, float("inf")])
def test_without_a_pace_all_comes_at_once(pace: float) -> None:
    profile = synthetic(50)
    (batch,) = Replay(profile, pace).batches()
    assert batch is profile.samples


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=12))
def test_any_times_are_played_in_order(times: list[int]) -> None:
    fake = Time()

    def skip(closed: Event, seconds: float) -> bool:
        fake.now += 1e12
        return closed.is_set()

    played = [b.time.tolist() for b in Replay(Taken(*times), clock=fake.clock, wait=skip).batches()]
    assert [t for batch in played for t in batch] == sorted(times)


def test_a_silence_gives_empty_batches() -> None:
    fake = Time()
    source = Replay(Taken(0, 2 * 10**9), clock=fake.clock, wait=fake.wait)
    sizes = [len(batch) for batch in source.batches()]
    assert sizes[0] == sizes[-1] == 1
    assert sizes[1:-1] == [0] * len(sizes[1:-1])
    assert len(sizes) > 4


def test_facts_grow_with_what_was_played() -> None:
    fake = Time()
    source = Replay(synthetic(400), clock=fake.clock, wait=fake.wait)
    taken = [source.facts().taken for _ in source.batches()]
    assert taken == sorted(taken)
    assert 0 < taken[0] < taken[-1]


def test_times_of_the_host_and_stacks_grow_too() -> None:
    fake, profile = Time(), synthetic(400)
    covered = 10**10
    facts = replace(
        profile.facts,
        covered_ns=covered,
        vcpu_times={0: VcpuTime(covered // 2, covered // 4)},
        endings={"bottom": 300, "unreadable": 100},
    )
    source = Replay(replace(profile, facts=facts), clock=fake.clock, wait=fake.wait)
    for _ in source.batches():
        now = source.facts()
        # Shares of the time, at each moment those of the whole recording.
        assert now.ran_percent == pytest.approx(50, abs=1)
        assert now.steal_percent == pytest.approx(25, abs=1)
        assert sum(now.endings.values()) <= 400
    assert source.facts().vcpu_times == facts.vcpu_times
    assert source.facts().endings == facts.endings


def test_close_ends_a_wait_at_once() -> None:
    waiting = Event()

    def wait(closed: Event, seconds: float) -> bool:
        waiting.set()
        return closed.wait(PATIENCE)  # for ever, but for close

    source = Replay(synthetic(50), wait=wait)
    got: list[SampleBatch] = []
    thread = Thread(target=lambda: got.extend(source.batches()))
    thread.start()
    assert waiting.wait(PATIENCE)
    source.close()
    thread.join(60)
    assert not thread.is_alive()
    assert got == []
    assert list(source.batches()) == []


def test_a_senseless_pace_is_refused() -> None:
    for pace in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="pace"):
            Replay(synthetic(4), pace)
