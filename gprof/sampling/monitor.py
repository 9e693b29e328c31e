"""Samples through QEMU's monitor: the guest is not stopped.

`info registers -a` has each vcpu leave the guest for as long as it takes to read its registers,
one after the other; there is no stop of the machine, no event, no flush of disks. Under TCG not
even that happens: registers are read as the vcpu last wrote them down, while it runs.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from gprof.errors import TargetGone
from gprof.guest.monitored import Look, MonitoredMachine
from gprof.guest.run_state import RESET
from gprof.sampling.schedule import Schedule
from gprof.sampling.source import SampleBatch, SourceFacts

_SECOND = 1_000_000_000

#: How long samples are gathered before they are handed on.
_BATCH_NS = _SECOND // 10
#: How often it is looked whether a guest that stood runs again.
_HELD_POLL_NS = _SECOND // 4


@dataclass(frozen=True, slots=True)
class MonitorOptions:
    """How to sample.

    Attributes:
        hz: samples a second, of each vcpu.
        vcpus: indices to sample; None for all.
        guest: id of the guest in the profile.
    """

    hz: float = 99.0
    vcpus: tuple[int, ...] | None = None
    guest: int = 0


class MonitorSource:
    """A `Source` that asks QEMU's monitor for the registers.

    Args:
        machine: what to sample; closed with this.
        options: how.
        rng: chance of the spacing.

    Raises:
        UsageError: the guest has no such vcpu.
    """

    def __init__(
        self,
        machine: MonitoredMachine,
        options: MonitorOptions,
        rng: random.Random | None = None,
    ) -> None:
        self._machine = machine
        self._state = machine.run_state
        self._options = options
        self._vcpus = machine.choose(options.vcpus)
        self._rng = rng or random.Random()  # noqa: S311 - spacing, not a secret
        self._closing = threading.Event()
        self._iterating = False
        self._gathered: list[tuple[int, int, int, int]] = []  # time, pc, vcpu, mode
        self._started_ns = self._now_ns = time.monotonic_ns()
        self._batch_due = self._started_ns + _BATCH_NS
        self._taken = self._late = self._errors = 0
        self._held_ns = 0
        self._resets = self._state.resets
        self._notes: list[str] = []
        if machine.accelerated is False:
            self.note(
                "Emulated guest (TCG): shares of functions are about right, of instructions not: "
                "a pc lies on the start of a translation block, the last that the vcpu has "
                "written down."
            )

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`; about ten batches a second."""
        self._iterating = True
        self._started_ns = self._now_ns = time.monotonic_ns()
        try:
            yield from self._sample()
        except TargetGone as gone:
            with contextlib.suppress(TargetGone):
                self._state.follow()  # its last words
            if not self._state.shut_down:
                raise
            raise TargetGone("the guest has shut down, and QEMU ended", gone.remedy) from None
        finally:
            self._machine.close()

    def _sample(self) -> Iterator[SampleBatch]:
        schedule = self._schedule()
        while not self._closing.is_set():
            if self._must_wait():
                yield from self._wait()
                schedule = self._schedule()
            due = schedule.following(time.monotonic_ns())
            yield from self._sleep_until(due)
            if self._closing.is_set():
                break
            look = self._machine.sample(self._vcpus)
            self._now_ns = look.answered_ns
            # Stopped while we asked, the registers are those of a guest that stands.
            if not self._must_wait():
                self._take(look)
                self._late += look.asked_ns - due > schedule.mean_interval_ns
        yield self._batch()

    def _schedule(self) -> Schedule:
        # The monitor answers late when the guest works most. To make up for that would fill the
        # profile with moments in which it works least.
        return Schedule(self._options.hz, time.monotonic_ns(), self._rng)

    def _must_wait(self) -> bool:
        self._state.follow()
        if self._state.resets != self._resets:
            self._resets = self._state.resets
            self._machine.forget()
            self.note(RESET)
        if not self._state.running:
            # An event can be old by now, as that of a stop of our own for reading memory.
            self._state.ask()
        return not self._state.running or self._state.migrating

    def _sleep_until(self, due_ns: int) -> Iterator[SampleBatch]:
        """Wait for an instant, and hand on what was gathered when it is time for that."""
        while True:
            now = time.monotonic_ns()
            if now >= self._batch_due:
                self._batch_due = now + _BATCH_NS
                yield self._batch()
            if now >= due_ns or self._closing.is_set():
                return
            self._closing.wait((min(due_ns, self._batch_due) - now) / _SECOND)

    def _take(self, look: Look) -> None:
        self._taken += 1
        middle = (look.asked_ns + look.answered_ns) // 2
        for one in look.sampled:
            if one.state is None:
                self._errors += 1
            else:
                self._gathered.append((middle, one.state.pc, one.vcpu, one.state.mode))

    def _batch(self) -> SampleBatch:
        taken, self._gathered = self._gathered, []
        times, pcs, vcpus, modes = zip(*taken, strict=True) if taken else ((), (), (), ())
        return SampleBatch.of(pcs, time=times, vcpu=vcpus, mode=modes, guest=self._options.guest)

    def _wait(self) -> Iterator[SampleBatch]:
        self.note(self._state.why())
        self._state.disown()
        while not self._closing.wait(_HELD_POLL_NS / _SECOND):
            before, self._now_ns = self._now_ns, time.monotonic_ns()
            self._held_ns += self._now_ns - before
            yield SampleBatch.empty()
            if not self._must_wait():
                self.note("The guest runs again.")
                return
            self.note(self._state.why())  # it may stand for another reason by now

    def note(self, sentence: str) -> None:
        """Add a sentence to the facts; not an empty one, nor the same twice in a row."""
        if sentence and (not self._notes or self._notes[-1] != sentence):
            self._notes.append(sentence)

    def facts(self) -> SourceFacts:
        """See `Source.facts`."""
        covered = self._now_ns - self._started_ns
        sampled_s = (covered - self._held_ns) / _SECOND
        return SourceFacts(
            way="qmp",
            target=self._machine.monitor_client.address.text,
            asked_hz=self._options.hz,
            reached_hz=self._taken / sampled_s if sampled_s > 0 else 0.0,
            covered_ns=covered,
            taken=self._taken,
            halted_ns=self._state.stopped_ns if self._machine.stops_it else 0,
            held_ns=self._held_ns,
            late=self._late,
            errors=self._errors,
            notes=tuple(self._notes),
            block_starts=self._machine.accelerated is False,
        )

    def close(self) -> None:
        """See `Source.close`."""
        self._closing.set()
        if not self._iterating:
            self._machine.close()
