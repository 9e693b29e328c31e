"""What QEMU does for a stop, told from what it does anyway, by a model of its main thread."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.sampling.stop_work import StopWork

MS = 1_000_000


@dataclass(slots=True)
class Thread:
    """A main thread that computes a share of all time, and something for every stop."""

    share: float
    now_ns: int = 0
    ran: float = 0.0
    ended: bool = False

    def ran_ns(self) -> int | None:
        return None if self.ended else int(self.ran)

    def rest(self, time_ns: int) -> None:
        self.now_ns += time_ns
        self.ran += self.share * time_ns


def stop(
    work: StopWork, thread: Thread, cost_ns: float, gap_ns: int, *, postponed: bool = False
) -> None:
    """A stop of 100 µs, and the time until the next one, which may be postponed."""
    work.before_stop(thread.now_ns)
    thread.rest(100_000)
    thread.ran += cost_ns
    resumed = thread.now_ns
    due = resumed + gap_ns
    if postponed:
        due = max(due, work.next_stop_from(resumed))
    settles = work.settles_at(resumed)
    if settles is not None and settles < due:
        thread.rest(settles - resumed)
        work.settle(thread.now_ns)
    thread.rest(due - thread.now_ns)


@given(
    share=st.floats(0, 0.5),
    cost_us=st.integers(0, 5000),
    gaps_ms=st.lists(st.floats(0.1, 500), min_size=150, max_size=150),
)
def test_what_it_does_anyway_is_no_work_of_stops(
    share: float, cost_us: int, gaps_ms: list[float]
) -> None:
    thread = Thread(share)
    work = StopWork(thread)
    for gap_ms in gaps_ms:
        stop(work, thread, 1000 * cost_us, int(gap_ms * MS))
    if work.known:
        assert work.ns == pytest.approx(1000 * cost_us, abs=200)
        assert work.total_ns == pytest.approx(len(gaps_ms) * work.ns)
    else:
        assert (work.ns, work.total_ns) == (0, 0)


def test_now_and_then_it_does_something_large_for_somebody_else() -> None:
    rng, thread = random.Random(1), Thread(0.02)
    work = StopWork(thread)
    for _ in range(200):
        if rng.random() < 0.2:
            thread.ran += 20 * MS
        stop(work, thread, 800_000, int(rng.expovariate(1 / 10) * MS))
    assert work.known
    assert work.ns == pytest.approx(800_000, rel=0.1)


def test_it_follows_a_cost_that_changes() -> None:
    thread = Thread(0.0)
    work = StopWork(thread)
    for cost in (800_000, 300_000):
        for _ in range(400):
            stop(work, thread, cost, 10 * MS)
        assert work.ns == pytest.approx(cost, rel=0.01)


def test_the_first_stops_are_so_far_apart_that_they_tell_something() -> None:
    thread = Thread(0.01)
    work = StopWork(thread)
    for _ in range(20):
        stop(work, thread, 400_000, MS, postponed=True)
    assert work.ns == pytest.approx(400_000, abs=200)
    assert work.next_stop_from(thread.now_ns) == thread.now_ns


def test_too_close_stops_tell_nothing() -> None:
    thread = Thread(0.0)
    work = StopWork(thread)
    for _ in range(100):
        stop(work, thread, 400_000, MS)
    assert not work.known


def test_what_was_counted_stays_where_stops_change() -> None:
    thread = Thread(0.0)
    work = StopWork(thread)
    for _ in range(50):
        stop(work, thread, 1_000_000, 10 * MS)
    work.forget()
    assert (work.ns, work.known) == (0, False)
    assert work.total_ns == pytest.approx(50_000_000)
    for _ in range(50):
        stop(work, thread, 500_000, 10 * MS)
    assert work.total_ns == pytest.approx(75_000_000)


@pytest.mark.parametrize("thread", [None, Thread(0.5, ended=True)])
def test_without_the_thread_nothing_is_known_and_nothing_waits(thread: Thread | None) -> None:
    work = StopWork(thread)
    for now in range(0, 1000 * MS, 10 * MS):
        work.before_stop(now)
        assert work.settles_at(now) is None
        assert work.next_stop_from(now) == now
    assert (work.known, work.ns, work.total_ns) == (False, 0, 0)
