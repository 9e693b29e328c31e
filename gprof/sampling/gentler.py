"""Sampling by the stub for as long as its stops are bearable, and by the monitor from then on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from gprof.guest.vcpu_threads import VcpuTime
from gprof.sampling.gathering import Unstacking
from gprof.sampling.halting import HaltingSource
from gprof.sampling.monitor import MonitorSource
from gprof.sampling.source import SampleBatch, SourceFacts
from gprof.sampling.task_numbers import Following


class GentlerSource:
    """A `Source` that goes on by the monitor where the stub costs the guest too much.

    Args:
        halting: samples first, with `HaltingOptions.may_hand_over`.
        successor: makes what samples after it, of the same guest.
    """

    def __init__(self, halting: HaltingSource, successor: Callable[[], MonitorSource]) -> None:
        self._halting = halting
        self._successor = successor
        self._current: HaltingSource | MonitorSource = halting
        self._closing = False
        self._following: list[Following | None] = []  # the last word, if there was any
        self._turn = threading.Lock()

    def batches(self) -> Iterator[SampleBatch]:
        """See `Source.batches`."""
        yield from self._halting.batches()
        if not self._halting.hands_over:
            return
        with self._turn:
            successor = self._current = self._successor()
            for following in self._following:
                successor.tell_tasks(following)
            if self._closing:
                successor.close()
                return
        yield from successor.batches()

    def note(self, sentence: str) -> None:
        """See `Sampler.note`."""
        self._current.note(sentence)

    def tell_tasks(self, following: Following | None) -> None:
        """See `Sampler.tell_tasks`."""
        with self._turn:
            self._following = [following]
            self._current.tell_tasks(following)

    def unstack(self, unstacking: Unstacking | None) -> None:
        """See `Sampler.unstack`."""
        self._current.unstack(unstacking)

    def count_halted(self, halted_ns: int) -> None:
        """See `Sampler.count_halted`."""
        self._current.count_halted(halted_ns)

    def facts(self) -> SourceFacts:
        """See `Source.facts`: those of both, as one."""
        current = self._current
        first = self._halting.facts()
        if current is self._halting:
            return first
        then = current.facts()
        covered = first.covered_ns + then.covered_ns
        held = first.held_ns + then.held_ns
        taken = first.taken + then.taken
        sampled_ns = covered - held
        return replace(
            then,
            reached_hz=taken * 1e9 / sampled_ns if sampled_ns > 0 else 0.0,
            covered_ns=covered,
            taken=taken,
            # The monitor has counted on, but what QEMU did for stops it does not know.
            halted_ns=max(first.halted_ns, then.halted_ns + first.stop_work_ns),
            stop_work_ns=first.stop_work_ns,
            held_ns=held,
            late=first.late + then.late,
            errors=first.errors + then.errors,
            notes=first.notes + then.notes,
            unwound_by=first.unwound_by,
            endings=first.endings,
            vcpu_times={
                vcpu: _sum(time, then.vcpu_times.get(vcpu))
                for vcpu, time in first.vcpu_times.items()
            },
        )

    def close(self) -> None:
        """See `Source.close`."""
        with self._turn:
            self._closing = True
            self._current.close()


def _sum(one: VcpuTime, other: VcpuTime | None) -> VcpuTime:
    if other is None:
        return one
    return VcpuTime(one.ran_ns + other.ran_ns, one.waited_ns + other.waited_ns)
