"""Samples through the gdbstub: every vcpu at one instant, one write a sample."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from gprof.guest.machine import Machine
from gprof.guest.main_thread import MainThread
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.stack_reader import StackReader
from gprof.sampling.gathering import Gathered, Unstacking
from gprof.sampling.sampler import Sampler
from gprof.sampling.schedule import affordable_hz
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling.stop_cost import StopCost
from gprof.sampling.stop_work import StopWork
from gprof.sampling.task_numbers import Following, TaskNumbers
from gprof.sampling.weighing import Weighing

#: How many samples at the start, and one in how many later, are timed for the cost of a stop.
_TIMED_FIRST = 30
_TIMED_EVERY = 20
#: Work of a stop that is less than this is not told apart.
_WORTH_TELLING_NS = 20_000


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
        max_latency_ns: the longest that one stop in a hundred may take; None for any. It wants a
            monitor: only its events tell of every stop how long it took.
        may_hand_over: end where stops cost too much, with `HaltingSource.hands_over` set, for
            somebody else to go on: also where the budget leaves less than half of the rate.
    """

    hz: float = 99.0
    vcpus: tuple[int, ...] | None = None
    max_halted: float = 0.01
    guest: int = 0
    unstacking: Unstacking | None = None
    stacks_if_cheap: bool = False
    following: Following | None = None
    max_latency_ns: int | None = None
    may_hand_over: bool = False


class HaltingSource(Sampler):
    """A `Source` that stops the guest for some dozen microseconds a sample.

    Args:
        machine: what to sample; its stub is closed with this.
        options: how.
        rng: chance of the spacing.
        monitored: the same guest through its monitor, where there is one: then the cost of
            stops is known and not estimated, and so is why it stands; closed with this.
        weighing: see `Sampler`; where it knows QEMU's process, what that computes for a stop is
            known too, and counts as time that the guest is kept from running.

    Attributes:
        hands_over: it ended since stops cost too much; the stub is closed then, and `monitored`
            is not.

    Raises:
        UsageError: the guest has no such vcpu.
    """

    def __init__(
        self,
        machine: Machine,
        options: HaltingOptions,
        rng: random.Random | None = None,
        monitored: MonitoredMachine | None = None,
        weighing: Weighing | None = None,
    ) -> None:
        self._machine = machine
        self._main_thread = MainThread.of_process(weighing.process if weighing is not None else 0)
        self._work = StopWork(self._main_thread)
        self._monitored = monitored
        self._options = options
        self._vcpus = machine.choose(options.vcpus)
        self._tasks: TaskNumbers | None = None
        if options.following is not None:
            self._tasks = TaskNumbers(options.following)
            machine.follow_tasks(options.following.places)
        super().__init__(
            options.hz,
            Gathered(options.guest, options.unstacking, self._tasks),
            monitored.run_state if monitored is not None else None,
            weighing,
            rng,
        )
        self._said_hz = options.hz
        self.hands_over = False
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
        self._halted_ns = float(machine.stub.greeting_ns)
        if machine.stub.accelerated is False:
            self.note(
                "Emulated guest (TCG): shares of functions are right, of instructions not: a pc "
                "lies on the start of a translation block."
            )

    def _begin(self) -> None:
        if self._state is not None:
            self._state.watch_migration()
            self._state.ask()
            self._state.forget_costs()

    def _let_go(self) -> None:
        self._machine.stub.close()
        if self._main_thread is not None:
            self._main_thread.close()
        if self._monitored is not None:
            self._monitored.run_state.unwatch_migration()
            if self.hands_over:
                self._monitored.take_back()
            else:
                self._monitored.close()

    def _stopped_by_other(self) -> bool:
        if self._state is not None and not self._state.running:
            self._machine.stub.stand_by()
        return self._machine.stub.other_stop()

    def _forget(self) -> None:
        if self._tasks is not None:
            self._tasks.forget()

    def unstack(self, unstacking: Unstacking | None) -> None:
        """See `Sampler.unstack`. Stacks that were given up because of their cost stay so."""
        self._order(partial(self._unstack, unstacking))

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

    def count_halted(self, halted_ns: int) -> None:
        """See `Sampler.count_halted`."""
        self._halted_ns += halted_ns

    def _postponed(self, due_ns: int) -> int:
        return max(due_ns, self._work.next_stop_from(self._now_ns))

    def _sleep_until(self, due_ns: int) -> Iterator[SampleBatch]:
        settles = self._work.settles_at(self._now_ns)
        if settles is not None and settles < due_ns:
            yield from super()._sleep_until(settles)
            self._work.settle(time.monotonic_ns())
        yield from super()._sleep_until(due_ns)

    def _take(self, due_ns: int, mean_interval_ns: float) -> None:
        if self._state is not None and self._must_wait():
            return
        timed = self._state is None and (
            self._taken < _TIMED_FIRST or self._taken % _TIMED_EVERY == 0
        )
        self._work.before_stop(time.monotonic_ns())
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
            self._keep_latency(self._state.latency_ns)
            return
        if timed or exchange.waited:
            self._cost.add(exchange)
            self._keep_budget(self._cost.ns, known=self._cost.known)
        self._halted_ns += self._cost.ns

    def _keep_budget(self, stood_ns: float, *, known: bool) -> None:
        """Sample as often as the cost of a stop allows.

        Args:
            stood_ns: how long the guest stands for a sample, as far as QEMU tells.
            known: that is measured, and no upper bound, which is no reason to sample less.
        """
        if known and self._stacks_may_go and self._affordable(stood_ns) < self._options.hz / 2:
            self._give_up_stacks(stood_ns)
            return
        if not known and not self._work.known:
            return
        self._trying_stacks &= not known
        cost_ns = (stood_ns if known else 0.0) + self._work.ns
        hz = self._affordable(cost_ns)
        takes_stacks = self._ask != self._machine.sample  # then somebody insists on them
        # A burst of long stops is no rule; the work of a stop is a median.
        certain = self._state is not None and self._state.cost_certain
        certain |= self._affordable(self._work.ns) < self._options.hz / 2
        if (
            hz < self._options.hz / 2
            and self._options.may_hand_over
            and certain
            and not takes_stacks
        ):
            self._hand_over(
                f"{self._told(cost_ns, known=known)}, and within {self._budget} that leaves "
                f"{hz:.0f} Hz of {self._options.hz:g}"
            )
            return
        # Every measurement moves it a little; only what matters is worth a sentence.
        if hz < 0.9 * self._said_hz:
            self._said_hz = hz
            self.note(
                f"The rate is lowered from {self._options.hz:g} to {hz:.0f} Hz: "
                f"{self._told(cost_ns, known=known)}, and it may be halted for {self._budget}."
                f"{self._remedy(takes_stacks=takes_stacks)}"
            )
        self._hz = hz

    @property
    def _budget(self) -> str:
        return f"{100 * self._options.max_halted:g} % of the time (--max-halted)"

    def _told(self, cost_ns: float, *, known: bool) -> str:
        cost = f"a stop costs this guest {'' if known else 'at least '}{cost_ns / 1000:.0f} µs"
        if self._work.ns < _WORTH_TELLING_NS:
            return cost
        return f"{cost}, {self._work.ns / 1000:.0f} of them in what QEMU does before and after it"

    def _remedy(self, *, takes_stacks: bool) -> str:
        if self._work.ns < _WORTH_TELLING_NS:
            return ""
        if self._options.may_hand_over and takes_stacks:
            return " Without call stacks (--call-graph none) the monitor samples, without stops."
        return " A monitor (--qmp) samples without stops." if self._monitored is None else ""

    def _affordable(self, stop_ns: float) -> float:
        return affordable_hz(self._options.hz, stop_ns, self._options.max_halted)

    def _keep_latency(self, latency_ns: int | None) -> None:
        most = self._options.max_latency_ns
        if most is None or latency_ns is None or latency_ns <= most:
            return
        if self._stacks_may_go:
            self._give_up_stacks(latency_ns, "one stop in a hundred", "--max-halt-latency")
        elif self._options.may_hand_over:
            self._hand_over(
                f"one stop in a hundred takes {latency_ns / 1e6:.1f} ms and longer, more than the "
                f"{most / 1e6:g} ms of --max-halt-latency"
            )

    def _hand_over(self, why: str) -> None:
        self.note(f"The stub is let go, and the monitor samples from now on: {why}.")
        self.hands_over = True
        self._closing.set()

    def _give_up_stacks(
        self, cost_ns: float, what: str = "a stop", option: str = "--max-halted"
    ) -> None:
        self.note(
            f"Call stacks are given up: with them {what} costs this guest "
            f"{cost_ns / 1000:.0f} µs, too much for {option}. "
            "--call-graph fp or orc takes them anyway."
        )
        self._stacks_may_go = self._trying_stacks = False
        self._stacks_given_up = True
        self._ask = self._machine.sample
        self._cost = StopCost()
        self._work.forget()
        if self._state is not None:
            self._state.forget_costs()

    def _released(self) -> bool:
        if self._state is not None:
            self._state.ask()
            if not self._state.running or self._state.migrating:
                return False
        return self._machine.stub.released()

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        return self._facts(
            "gdbstub",
            self._machine.stub.address.text,
            halted_ns=self._stood_ns(),
            stop_work_ns=int(self._work.total_ns),
            block_starts=self._machine.stub.accelerated is False,
            unwound_by=self._unwound_by,
        )

    def _stood_ns(self) -> int:
        if self._state is not None:
            return self._state.stopped_ns
        return int(self._halted_ns) + (self._tasks.halted_ns if self._tasks is not None else 0)
