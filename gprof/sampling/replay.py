"""A recording as a source of samples: played back at its own pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event
from typing import Protocol

import numpy as np

from gprof.guest.vcpu_threads import VcpuTime
from gprof.sampling.source import COLUMN_TYPES, SampleBatch, SourceFacts

#: How much recorded time goes into one batch.
_STEP_NS = 250_000_000


class Recorded(Protocol):
    """What was sampled before, and how: a profile."""

    @property
    def samples(self) -> SampleBatch:
        """The samples."""
        ...

    @property
    def facts(self) -> SourceFacts:
        """How they were taken."""
        ...


class Replay:
    """Plays the samples of a profile again, with the times that they have in it.

    Facts grow with the samples: what was counted over the whole recording (halts, errors) counts
    in proportion to the time that was played, and is exact at the end.

    Args:
        recorded: what to play.
        pace: 1 plays as fast as it was recorded, 2 twice as fast; 0 or infinity all at once.
        clock: a monotonic clock in seconds.
        wait: waits on an event for some seconds and tells whether it was set.
    """

    def __init__(
        self,
        recorded: Recorded,
        pace: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[Event, float], bool] = Event.wait,
    ) -> None:
        if not pace >= 0:
            raise ValueError(f"a pace of {pace}")
        self._samples = recorded.samples
        self._facts = recorded.facts
        self._pace = pace
        self._clock = clock
        self._wait = wait
        self._closed = Event()
        # How much of the recording was played, 0 to 1. Replaced as a whole: threads may look.
        self._played = 0.0

    def batches(self) -> Iterator[SampleBatch]:
        """The samples by their time, a quarter of a recorded second each; empty ones included."""
        if not len(self._samples) or self._closed.is_set():
            return
        if self._pace in {0.0, float("inf")}:
            self._played = 1.0
            yield self._samples
            return
        order = np.argsort(self._samples.time, kind="stable")
        times = self._samples.time[order]
        first, last = int(times[0]), int(times[-1])
        began = self._clock()
        at = done = 0
        while done < len(order):
            # Long silences and damaged times are not waited for one step at a time.
            ahead = max(0, int(times[done]) - first - at) // _STEP_NS
            at += (ahead + 1) * _STEP_NS
            due = began + at / 1e9 / self._pace
            while (left := due - self._clock()) > 0:
                if self._wait(self._closed, min(left, _STEP_NS / 1e9)):
                    return
                if left > _STEP_NS / 1e9:
                    yield SampleBatch.empty()
            if self._closed.is_set():
                return
            end = int(np.searchsorted(times, min(first + at - 1, last), side="right"))
            self._played = min(1.0, at / max(1, last - first))
            now = order[done:end]
            yield SampleBatch(*(getattr(self._samples, name)[now] for name in COLUMN_TYPES))
            done = end
        self._played = 1.0

    def facts(self) -> SourceFacts:
        """The recording's own facts, as far as it was played."""
        facts, played = self._facts, self._played
        if played >= 1.0:
            return replace(facts, way="replay")
        return replace(
            facts,
            way="replay",
            covered_ns=int(facts.covered_ns * played),
            taken=int(facts.taken * played),
            halted_ns=int(facts.halted_ns * played),
            stop_work_ns=int(facts.stop_work_ns * played),
            held_ns=int(facts.held_ns * played),
            late=int(facts.late * played),
            errors=int(facts.errors * played),
            lost=int(facts.lost * played),
            endings={name: int(count * played) for name, count in facts.endings.items()},
            vcpu_times={
                vcpu: VcpuTime(int(time.ran_ns * played), int(time.waited_ns * played))
                for vcpu, time in facts.vcpu_times.items()
            },
        )

    def close(self) -> None:
        """End the iteration, also while it waits."""
        self._closed.set()
