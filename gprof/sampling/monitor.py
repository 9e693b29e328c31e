"""Samples through QEMU's monitor: the guest is not stopped.

`info registers -a` has each vcpu leave the guest for as long as it takes to read its registers,
one after the other; there is no stop of the machine, no event, no flush of disks. Under TCG not
even that happens: registers are read as the vcpu last wrote them down, while it runs; and once
it is known where QEMU has them, it is not asked either (`gprof.guest.live_registers`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from gprof.guest.monitored import MonitoredMachine
from gprof.sampling.gathering import Gathered, Unstacking
from gprof.sampling.sampler import Sampler
from gprof.sampling.source import SourceFacts
from gprof.sampling.task_numbers import Following, TaskNumbers
from gprof.sampling.weighing import Weighing


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """How to sample.

    Attributes:
        hz: samples a second, of each vcpu.
        vcpus: indices to sample; None for all.
        guest: id of the guest in the profile.
        following: tell which tasks run, like this.
        unstacking: take call stacks too, as far as they hold, and unwind them like this.
    """

    hz: float = 99.0
    vcpus: tuple[int, ...] | None = None
    guest: int = 0
    following: Following | None = None
    unstacking: Unstacking | None = None


class MonitorSource(Sampler):
    """A `Source` that asks QEMU's monitor for the registers.

    Args:
        machine: what to sample; closed with this.
        options: how.
        rng: chance of the spacing.
        weighing: see `Sampler`.

    Raises:
        UsageError: the guest has no such vcpu.
    """

    def __init__(
        self,
        machine: MonitoredMachine,
        options: MonitorOptions,
        rng: random.Random | None = None,
        weighing: Weighing | None = None,
    ) -> None:
        self._machine = machine
        self._vcpus = machine.choose(options.vcpus)
        self._tasks: TaskNumbers | None = None
        if options.following is not None and machine.follow_tasks(options.following.places):
            self._tasks = TaskNumbers(options.following)
        gathered = Gathered(options.guest, tasks=self._tasks)
        self._unwound_by = ""
        super().__init__(options.hz, gathered, machine.run_state, weighing, rng)
        if machine.accelerated is False:
            self.note(
                "Emulated guest (TCG): shares of functions are about right, of instructions not: "
                "a pc lies on the start of a translation block, the last that the vcpu has "
                "written down."
            )

        self._unstack(options.unstacking)

    def _begin(self) -> None:
        self._machine.run_state.ask()

    def _take(self, due_ns: int, mean_interval_ns: float) -> None:
        look = self._machine.sample(self._vcpus)
        self._now_ns = look.answered_ns
        # Stopped while we asked, the registers are those of a guest that stands.
        if self._must_wait():
            return
        self._taken += 1
        self._late += look.asked_ns - due_ns > mean_interval_ns
        middle = (look.asked_ns + look.answered_ns) // 2
        self._errors += self._gathered.add(middle, look.sampled)

    def _stopped_by_other(self) -> bool:
        return not self._machine.run_state.running

    def _released(self) -> bool:
        return not self._must_wait()

    def _forget(self) -> None:
        if self._tasks is not None:
            self._tasks.forget()

    def _tell_tasks(self, following: Following | None) -> None:
        self._tasks = None
        told = self._machine.follow_tasks(following.places if following is not None else None)
        if following is not None and told:
            self._tasks = TaskNumbers(following)
        self._gathered.tasks = self._tasks

    def unstack(self, unstacking: Unstacking | None) -> None:
        """See `Sampler.unstack`."""
        self._order(partial(self._unstack, unstacking))

    def _unstack(self, unstacking: Unstacking | None) -> None:
        read = self._machine.read_stacks(unstacking.most if unstacking is not None else None)
        self._gathered.unstacking = unstacking if read else None
        if unstacking is not None and read:
            self._unwound_by = unstacking.name

    def count_halted(self, halted_ns: int) -> None:
        """Nothing: the monitor tells of every stop."""

    def _let_go(self) -> None:
        self._machine.close()

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        return self._facts(
            "qmp",
            self._machine.monitor_client.name,
            halted_ns=self._machine.run_state.stopped_ns if self._machine.stops_it else 0,
            block_starts=self._machine.accelerated is False,
            unwound_by=self._unwound_by,
        )
