"""Samples through the gdbstub: every vcpu at one instant, one write a sample."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gprof.guest.machine import Machine
from gprof.guest.stack_reader import StackReader
from gprof.sampling.gathering import Gathered, Unstacking
from gprof.sampling.schedule import Schedule, affordable_hz
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling.stop_cost import StopCost

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
    """

    hz: float = 99.0
    vcpus: tuple[int, ...] | None = None
    max_halted: float = 0.01
    guest: int = 0
    unstacking: Unstacking | None = None
    stacks_if_cheap: bool = False


class HaltingSource:
    """A `Source` that stops the guest for some dozen microseconds a sample.

    Args:
        machine: what to sample; its stub is closed with this.
        options: how.
        rng: chance of the spacing.

    Raises:
        UsageError: the guest has no such vcpu.
    """

    def __init__(
        self, machine: Machine, options: HaltingOptions, rng: random.Random | None = None
    ) -> None:
        self._machine = machine
        self._options = options
        self._vcpus = machine.choose(options.vcpus)
        self._rng = rng or random.Random()  # noqa: S311 - spacing, not a secret
        self._closing = threading.Event()
        self._iterating = False
        self._gathered = Gathered(options.guest, options.unstacking)
        self._ask = machine.sample
        if options.unstacking is not None:
            self._ask = StackReader(machine, options.unstacking.most).sample
        self._stacks_may_go = options.unstacking is not None and options.stacks_if_cheap
        self._cost = StopCost()
        self._started_ns = time.monotonic_ns()
        self._now_ns = self._started_ns
        self._batch_due = self._started_ns + _BATCH_NS
        self._taken = self._late = self._errors = 0
        self._halted_ns = float(machine.stub.greeting_ns)
        self._held_ns = 0
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
            yield from self._sample()
        finally:
            self._machine.stub.close()

    def _sample(self) -> Iterator[SampleBatch]:
        schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
        while not self._closing.is_set():
            if self._machine.stub.other_stop():
                yield from self._wait_for_release()
                schedule = Schedule(self._hz, time.monotonic_ns(), self._rng)
            due = schedule.following(time.monotonic_ns())
            yield from self._sleep_until(due)
            if self._closing.is_set():
                break
            self._take(due, schedule.mean_interval_ns)
            schedule.hz = self._hz
        yield self._gathered.batch()

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
        timed = self._taken < _TIMED_FIRST or self._taken % _TIMED_EVERY == 0
        exchange, sampled = self._ask(self._vcpus, timed=timed)
        self._now_ns = exchange.answered_ns
        if self._machine.stub.held:
            return  # stopped by somebody since we looked: this is no sample of a running guest
        self._taken += 1
        self._late += exchange.asked_ns - due_ns > mean_interval_ns
        self._errors += self._gathered.add(exchange.stopped_ns, sampled)
        if timed or exchange.waited:
            self._cost.add(exchange)
            self._keep_budget()
        self._halted_ns += self._cost.ns

    def _keep_budget(self) -> None:
        if not self._cost.known:
            return  # an upper bound is no reason to sample less
        hz = affordable_hz(self._options.hz, self._cost.ns, self._options.max_halted)
        if self._stacks_may_go and hz < self._options.hz / 2:
            self._give_up_stacks()
            return
        # Every measurement moves it a little; only what matters is worth a sentence.
        if hz < 0.9 * self._said_hz:
            self._said_hz = hz
            self.note(
                f"The rate is lowered from {self._options.hz:g} to {hz:.0f} Hz: a stop costs this "
                f"guest {self._cost.ns / 1000:.0f} µs, and it may be halted for "
                f"{100 * self._options.max_halted:g} % of the time (--max-halted)."
            )
        self._hz = hz

    def _give_up_stacks(self) -> None:
        self.note(
            f"Call stacks are given up: with them a stop costs this guest "
            f"{self._cost.ns / 1000:.0f} µs, too much for the rate (--max-halted). "
            "--call-graph fp or orc takes them anyway."
        )
        self._stacks_may_go = False
        self._ask = self._machine.sample
        self._cost = StopCost()

    def _wait_for_release(self) -> Iterator[SampleBatch]:
        self.note(
            "Somebody else has stopped the guest: gprof waits, and does not resume it. "
            "`cont` in QEMU's monitor does."
        )
        while not self._closing.wait(_HELD_POLL_NS / _SECOND):
            before = self._now_ns
            released = self._machine.stub.released()
            self._now_ns = time.monotonic_ns()
            self._held_ns += self._now_ns - before
            yield SampleBatch.empty()
            if released:
                self.note("The guest runs again.")
                return

    def note(self, sentence: str) -> None:
        """Add a sentence to the facts; not an empty one, nor the same twice in a row."""
        if sentence and (not self._notes or self._notes[-1] != sentence):
            self._notes.append(sentence)

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        covered = self._now_ns - self._started_ns
        unstacking = self._options.unstacking
        sampled_s = (covered - self._held_ns) / _SECOND
        return SourceFacts(
            way="gdbstub",
            target=self._machine.stub.address.text,
            asked_hz=self._options.hz,
            reached_hz=self._taken / sampled_s if sampled_s > 0 else 0.0,
            covered_ns=covered,
            taken=self._taken,
            halted_ns=int(self._halted_ns),
            held_ns=self._held_ns,
            late=self._late,
            errors=self._errors,
            notes=tuple(self._notes),
            block_starts=self._machine.stub.accelerated is False,
            unwound_by=unstacking.name if unstacking is not None else "",
            endings={ending.name.lower(): n for ending, n in self._gathered.endings.items()},
        )

    def close(self) -> None:
        """See `Source.close`."""
        self._closing.set()
        if not self._iterating:
            self._machine.stub.close()
