"""The loop of everything that samples a guest at instants of its own choosing.

When to look, what to do while nothing is due, waiting for a guest that somebody else has stopped,
and the counts are the same however the registers are had. `HaltingSource` and `MonitorSource` say
how that is.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import partial

from gprof.errors import TargetGone
from gprof.guest.run_state import RAN_ON, RESET, STOPPED, RunState
from gprof.sampling.gathering import Gathered, Unstacking
from gprof.sampling.schedule import Schedule
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling.task_numbers import Following
from gprof.sampling.weighing import Weighing

_SECOND = 1_000_000_000

#: How long samples are gathered before they are handed on.
_BATCH_NS = _SECOND // 10
#: How often it is looked whether a guest that somebody stopped runs again.
_HELD_POLL_NS = _SECOND // 4
#: No stack takes longer to unwind.
_UNWINDING_NS = 500_000


class Sampler(ABC):
    """A `Source` that looks at a guest.

    Args:
        hz: the rate asked for, of each vcpu.
        gathered: takes samples in and gives batches.
        state: whether the guest runs, where a monitor tells.
        weighing: what samples weigh, where more than a moment of the clock is known of them;
            closed with this.
        rng: chance of the spacing.
    """

    def __init__(
        self,
        hz: float,
        gathered: Gathered,
        state: RunState | None,
        weighing: Weighing | None,
        rng: random.Random | None,
    ) -> None:
        self._asked_hz = self._hz = hz
        self._gathered = gathered
        self._state = state
        self._weighing = weighing
        self._rng = rng or random.Random()  # noqa: S311 - spacing, not a secret
        self._closing = threading.Event()
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._iterating = False
        self._started_ns = self._now_ns = time.monotonic_ns()
        self._batch_due = self._started_ns + _BATCH_NS
        self._taken = self._late = self._errors = 0
        self._held_ns = 0
        self._resets = state.resets if state is not None else 0
        self._ran_on = state.ran_on if state is not None else 0
        self._notes: list[str] = []

    @abstractmethod
    def _begin(self) -> None:
        """Whatever is to be done before the first sample."""

    @abstractmethod
    def _take(self, due_ns: int, mean_interval_ns: float) -> None:
        """Look once, or not where that turns out to be impossible; count and gather it."""

    @abstractmethod
    def _stopped_by_other(self) -> bool:
        """Whether somebody else has stopped the guest; the state, where there is one, is fresh."""

    @abstractmethod
    def _released(self) -> bool:
        """Whether a guest that stood may be sampled again."""

    @abstractmethod
    def _forget(self) -> None:
        """Believe nothing that was read of the guest: it was reset."""

    @abstractmethod
    def _tell_tasks(self, following: Following | None) -> None:
        """Tell tasks in another way, or not at all."""

    @abstractmethod
    def _let_go(self) -> None:
        """Leave the guest, running."""

    @abstractmethod
    def facts(self) -> SourceFacts:
        """See `Source.facts`."""

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`; about ten batches a second."""
        self._iterating = True
        self._started_ns = self._now_ns = time.monotonic_ns()
        try:
            self._begin()
            if self._weighing is not None:
                self._weighing.begin()
            yield from self._sample()
        except TargetGone as gone:
            if self._state is None:
                raise
            with contextlib.suppress(TargetGone):
                self._state.follow()  # its last words
            if not self._state.shut_down:
                raise
            raise TargetGone("the guest has shut down, and QEMU ended", gone.remedy) from None
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._weighing is not None:
            self._weighing.close()
        self._let_go()

    def _sample(self) -> Iterator[SampleBatch]:
        schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
        while not self._closing.is_set():
            if self._must_wait():
                yield from self._wait()
                schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
            due = self._postponed(schedule.following(time.monotonic_ns()))
            yield from self._sleep_until(due)
            if self._closing.is_set():
                break
            self._carry_out()
            self._take(due, schedule.mean_interval_ns)
            schedule.hz = self._hz
        yield self._batch()

    def _batch(self) -> SampleBatch:
        batch = self._gathered.batch()
        return batch if self._weighing is None else self._weighing.weigh(batch)

    def _must_wait(self) -> bool:
        """Whether somebody else has stopped the guest, or is moving it elsewhere."""
        if self._state is not None:
            self._state.follow()
            if self._state.resets != self._resets:
                self._resets = self._state.resets
                self._forget()
                self.note(RESET)
            if self._state.ran_on != self._ran_on:
                self._ran_on = self._state.ran_on
                self.note(RAN_ON)
            if not self._state.running:
                # An event can be old by now, as that of a stop of our own.
                self._state.ask()
            if self._state.running and self._state.migrating:
                # A continue of ours would let it run here while it runs there.
                return True
        return self._stopped_by_other()

    def _postponed(self, due_ns: int) -> int:
        """When to take the sample that is due at an instant: then, or for a reason later."""
        return due_ns

    def _sleep_until(self, due_ns: int) -> Iterator[SampleBatch]:
        """Wait for an instant, and hand on what was gathered when it is time for that."""
        while True:
            now = time.monotonic_ns()
            if now >= self._batch_due:
                self._batch_due = now + _BATCH_NS
                yield self._batch()
            if now >= due_ns or self._closing.is_set():
                return
            wait_ns = min(due_ns, self._batch_due) - now
            if wait_ns < _UNWINDING_NS or not self._gathered.unwind_one():
                self._closing.wait(wait_ns / _SECOND)

    def _wait(self) -> Iterator[SampleBatch]:
        if self._state is not None:
            self._state.ask()
        self.note(self._why())
        if self._state is not None:
            self._state.disown()
        while not self._closing.wait(_HELD_POLL_NS / _SECOND):
            before = self._now_ns
            released = self._released()
            self._now_ns = time.monotonic_ns()
            self._held_ns += self._now_ns - before
            if not released:
                self.note(self._why())  # it may stand for another reason by now
            yield SampleBatch.empty()
            if released:
                self.note("The guest runs again.")
                return

    def _why(self) -> str:
        known = self._state is not None and (not self._state.running or self._state.migrating)
        return self._state.why() if self._state is not None and known else STOPPED

    def tell_tasks(self, following: Following | None) -> None:
        """Tell tasks in another way from now on, or not at all; any thread may call it."""
        self._order(partial(self._tell_tasks, following))

    @abstractmethod
    def unstack(self, unstacking: Unstacking | None) -> None:
        """Take and unwind stacks in another way from now on, or none; any thread may call it.

        A kernel that moves takes its unwind tables with it.
        """

    @abstractmethod
    def count_halted(self, halted_ns: int) -> None:
        """Count stops that somebody made for us, where no monitor tells of them."""

    def _order(self, what: Callable[[], None]) -> None:
        """Have something done in the sampler's thread, between two samples."""
        self._orders.put(what)

    def _carry_out(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._orders.get_nowait()()

    def note(self, sentence: str) -> None:
        """Add a sentence to the facts; not an empty one, nor the same twice in a row."""
        if sentence and (not self._notes or self._notes[-1] != sentence):
            self._notes.append(sentence)

    def _facts(
        self,
        way: str,
        target: str,
        *,
        halted_ns: int,
        stop_work_ns: int = 0,
        block_starts: bool,
        unwound_by: str = "",
    ) -> SourceFacts:
        covered = self._now_ns - self._started_ns
        sampled_s = (covered - self._held_ns) / _SECOND
        return SourceFacts(
            way=way,
            target=target,
            asked_hz=self._asked_hz,
            reached_hz=self._taken / sampled_s if sampled_s > 0 else 0.0,
            covered_ns=covered,
            taken=self._taken,
            halted_ns=halted_ns + stop_work_ns,
            stop_work_ns=stop_work_ns,
            held_ns=self._held_ns,
            late=self._late,
            errors=self._errors,
            notes=tuple(self._notes),
            block_starts=block_starts,
            unwound_by=unwound_by,
            endings={ending.name.lower(): n for ending, n in self._gathered.endings.items()},
            vcpu_times=self._weighing.times if self._weighing is not None else {},
        )

    def close(self) -> None:
        """See `Source.close`."""
        self._closing.set()
        if not self._iterating:
            self._leave()
