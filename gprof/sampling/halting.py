"""Samples through the gdbstub: every vcpu at one instant, one write a sample."""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.run_state import RESET, STOPPED
from gprof.guest.stack_reader import StackReader
from gprof.sampling.gathering import Gathered, Unstacking
from gprof.sampling.schedule import Schedule, affordable_hz
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling.stop_cost import StopCost
from gprof.sampling.task_numbers import Following, TaskNumbers

_SECOND = 1_000_000_000

#: How long samples are gathered before they are handed on.
_BATCH_NS = _SECOND // 10
#: How often it is asked whether a guest that somebody stopped runs again.
_HELD_POLL_NS = _SECOND // 4
#: No stack takes longer to unwind.
_UNWINDING_NS = 500_000
#: How many samples at the start, and one in how many later, are timed for the cost of a stop.
_TIMED_FIRST = 30
_TIMED_EVERY = 20


@dataclass(frozen=True, slots=True)
class HaltingOptions:
    """How to sample.

    Attributes:
        hz: samples a second, of each vcpu.
        vcpus: indices to sample; None for all.
        max_halted: the share of time that the guest may be kept from running, 0.01 for 1 %;
            the rate is lowered to stay below it.
        guest: id of the guest in the profile.
        unstacking: take call stacks too, and unwind them like this.
        stacks_if_cheap: give stacks up where they cost so much that the budget would leave less
            than half of the rate: the guest waits for us in the middle of each, and on a host
            without a free processor that can be long.
        following: tell which tasks run, like this.
    """

    hz: float = 99.0
    vcpus: tuple[int, ...] | None = None
    max_halted: float = 0.01
    guest: int = 0
    unstacking: Unstacking | None = None
    stacks_if_cheap: bool = False
    following: Following | None = None


class HaltingSource:
    """A `Source` that stops the guest for some dozen microseconds a sample.

    Args:
        machine: what to sample; its stub is closed with this.
        options: how.
        rng: chance of the spacing.
        monitored: the same guest through its monitor, where there is one: then the cost of
            stops is known and not estimated, and so is why it stands; closed with this.

    Raises:
        UsageError: the guest has no such vcpu.
    """

    def __init__(
        self,
        machine: Machine,
        options: HaltingOptions,
        rng: random.Random | None = None,
        monitored: MonitoredMachine | None = None,
    ) -> None:
        self._machine = machine
        self._monitored = monitored
        self._state = monitored.run_state if monitored is not None else None
        self._options = options
        self._vcpus = machine.choose(options.vcpus)
        self._rng = rng or random.Random()  # noqa: S311 - spacing, not a secret
        self._closing = threading.Event()
        self._changes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._iterating = False
        self._tasks: TaskNumbers | None = None
        if options.following is not None:
            self._tasks = TaskNumbers(options.following)
            machine.follow_tasks(options.following.places)
        self._gathered = Gathered(options.guest, options.unstacking, self._tasks)
        self._ask = machine.sample
        if options.unstacking is not None:
            self._ask = StackReader(machine, options.unstacking.most).sample
        self._stacks_may_go = options.unstacking is not None and options.stacks_if_cheap
        self._stacks_given_up = False
        self._unwound_by = options.unstacking.name if options.unstacking is not None else ""
        # Until it is known what they cost they are thrown away: a profile that has stacks for
        # its first moments only would mislead.
        self._trying_stacks = self._stacks_may_go
        self._cost = StopCost()
        self._started_ns = time.monotonic_ns()
        self._now_ns = self._started_ns
        self._batch_due = self._started_ns + _BATCH_NS
        self._taken = self._late = self._errors = 0
        self._halted_ns = float(machine.stub.greeting_ns)
        self._held_ns = 0
        self._resets = self._state.resets if self._state is not None else 0
        self._hz = self._said_hz = options.hz
        self._notes: list[str] = []
        if machine.stub.accelerated is False:
            self.note(
                "Emulated guest (TCG): shares of functions are right, of instructions not: a pc "
                "lies on the start of a translation block."
            )

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`; about ten batches a second."""
        self._iterating = True
        self._started_ns = self._now_ns = time.monotonic_ns()
        try:
            if self._state is not None:
                self._state.watch_migration()
                self._state.ask()
                self._state.forget_costs()
            yield from self._sample()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._machine.stub.close()
        if self._monitored is not None:
            self._monitored.run_state.unwatch_migration()
            self._monitored.close()

    def _sample(self) -> Iterator[SampleBatch]:
        schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
        while not self._closing.is_set():
            if self._must_wait():
                yield from self._wait_for_release()
                schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
            due = schedule.following(time.monotonic_ns())
            yield from self._sleep_until(due)
            if self._closing.is_set():
                break
            if self._state is not None and self._must_wait():
                continue
            self._change()
            self._take(due, schedule.mean_interval_ns)
            schedule.hz = self._hz
        yield self._gathered.batch()

    def unstack(self, unstacking: Unstacking | None) -> None:
        """Take and unwind stacks in another way from now on, or none; any thread may call it.

        A kernel that moves takes its unwind tables with it. Stacks that were given up because of
        their cost stay so.
        """
        self._changes.put(partial(self._unstack, unstacking))

    def tell_tasks(self, following: Following | None) -> None:
        """Tell tasks in another way from now on, or not at all; any thread may call it."""
        self._changes.put(partial(self._tell_tasks, following))

    def _unstack(self, unstacking: Unstacking | None) -> None:
        if self._stacks_given_up:
            return
        self._gathered.unstacking = unstacking
        self._ask = self._machine.sample
        if unstacking is not None:
            self._unwound_by = unstacking.name
            self._stacks_may_go = self._options.stacks_if_cheap
            self._ask = StackReader(self._machine, unstacking.most).sample

    def _tell_tasks(self, following: Following | None) -> None:
        if self._tasks is not None:
            self._halted_ns += self._tasks.halted_ns
        self._tasks = TaskNumbers(following) if following is not None else None
        self._gathered.tasks = self._tasks
        self._machine.follow_tasks(following.places if following is not None else None)

    def _change(self) -> None:
        """Carry out what was ordered from other threads, between two samples."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._changes.get_nowait()()

    def count_halted(self, halted_ns: int) -> None:
        """Count a stop that others made for us, where no monitor tells of it."""
        self._halted_ns += halted_ns

    def _must_wait(self) -> bool:
        """Whether somebody else has stopped the guest, or is moving it elsewhere."""
        if self._state is not None:
            self._state.follow()
            self._notice_reset()
            if not self._state.running:
                self._state.ask()  # else it may be our own stop, long over
            if not self._state.running:
                self._machine.stub.stand_by()
            elif self._state.migrating:
                # Our continue would let it run here while it runs there.
                return True
        return self._machine.stub.other_stop()

    def _notice_reset(self) -> None:
        if self._monitored is not None and self._monitored.run_state.resets != self._resets:
            self._resets = self._monitored.run_state.resets
            self.note(RESET)

    def _sleep_until(self, due_ns: int) -> Iterator[SampleBatch]:
        """Wait for an instant, and hand on what was gathered when it is time for that."""
        while True:
            now = time.monotonic_ns()
            if now >= self._batch_due:
                self._batch_due = now + _BATCH_NS
                yield self._gathered.batch()
            if now >= due_ns or self._closing.is_set():
                return
            wait_ns = min(due_ns, self._batch_due) - now
            if wait_ns < _UNWINDING_NS or not self._gathered.unwind_one():
                self._closing.wait(wait_ns / _SECOND)

    def _take(self, due_ns: int, mean_interval_ns: float) -> None:
        timed = self._state is None and (
            self._taken < _TIMED_FIRST or self._taken % _TIMED_EVERY == 0
        )
        exchange, sampled = self._ask(self._vcpus, timed=timed)
        self._now_ns = exchange.answered_ns
        if self._machine.stub.held:
            return  # stopped by somebody since we looked: this is no sample of a running guest
        self._taken += 1
        self._late += exchange.asked_ns - due_ns > mean_interval_ns
        if self._trying_stacks:
            sampled = [replace(one, registers=None) for one in sampled]
        self._errors += self._gathered.add(exchange.stopped_ns, sampled)
        if self._state is not None:
            self._keep_budget(self._state.cost_ns, known=self._state.cost_known)
            return
        if timed or exchange.waited:
            self._cost.add(exchange)
            self._keep_budget(self._cost.ns, known=self._cost.known)
        self._halted_ns += self._cost.ns

    def _keep_budget(self, cost_ns: float, *, known: bool) -> None:
        if not known:
            return  # an upper bound is no reason to sample less
        hz = affordable_hz(self._options.hz, cost_ns, self._options.max_halted)
        if self._stacks_may_go and hz < self._options.hz / 2:
            self._give_up_stacks(cost_ns)
            return
        self._trying_stacks = False
        # Every measurement moves it a little; only what matters is worth a sentence.
        if hz < 0.9 * self._said_hz:
            self._said_hz = hz
            self.note(
                f"The rate is lowered from {self._options.hz:g} to {hz:.0f} Hz: a stop costs this "
                f"guest {cost_ns / 1000:.0f} µs, and it may be halted for "
                f"{100 * self._options.max_halted:g} % of the time (--max-halted)."
            )
        self._hz = hz

    def _give_up_stacks(self, cost_ns: float) -> None:
        self.note(
            f"Call stacks are given up: with them a stop costs this guest "
            f"{cost_ns / 1000:.0f} µs, too much for the rate (--max-halted). "
            "--call-graph fp or orc takes them anyway."
        )
        self._stacks_may_go = self._trying_stacks = False
        self._stacks_given_up = True
        self._ask = self._machine.sample
        self._cost = StopCost()
        if self._state is not None:
            self._state.forget_costs()

    def _wait_for_release(self) -> Iterator[SampleBatch]:
        if self._state is not None:
            self._state.ask()
        known = self._state is not None and (not self._state.running or self._state.migrating)
        self.note(self._state.why() if self._state is not None and known else STOPPED)
        if self._state is not None:
            self._state.disown()
        while not self._closing.wait(_HELD_POLL_NS / _SECOND):
            before = self._now_ns
            released = self._released()
            self._now_ns = time.monotonic_ns()
            self._held_ns += self._now_ns - before
            if self._state is not None and not released and not self._state.running:
                self.note(self._state.why())  # it may stand for another reason by now
            yield SampleBatch.empty()
            if released:
                self.note("The guest runs again.")
                return

    def _released(self) -> bool:
        if self._state is not None:
            self._state.ask()
            if not self._state.running or self._state.migrating:
                return False
        return self._machine.stub.released()

    def note(self, sentence: str) -> None:
        """Add a sentence to the facts; not an empty one, nor the same twice in a row."""
        if sentence and (not self._notes or self._notes[-1] != sentence):
            self._notes.append(sentence)

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        covered = self._now_ns - self._started_ns
        sampled_s = (covered - self._held_ns) / _SECOND
        return SourceFacts(
            way="gdbstub",
            target=self._machine.stub.address.text,
            asked_hz=self._options.hz,
            reached_hz=self._taken / sampled_s if sampled_s > 0 else 0.0,
            covered_ns=covered,
            taken=self._taken,
            halted_ns=self._stood_ns(),
            held_ns=self._held_ns,
            late=self._late,
            errors=self._errors,
            notes=tuple(self._notes),
            block_starts=self._machine.stub.accelerated is False,
            unwound_by=self._unwound_by,
            endings={ending.name.lower(): n for ending, n in self._gathered.endings.items()},
        )

    def _stood_ns(self) -> int:
        if self._state is not None:
            return self._state.stopped_ns
        return int(self._halted_ns) + (self._tasks.halted_ns if self._tasks is not None else 0)

    def close(self) -> None:
        """See `Source.close`."""
        self._closing.set()
        if not self._iterating:
            self._let_go()
