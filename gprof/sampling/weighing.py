"""What a sample weighs: one moment of the clock, or of a processor.

A vcpu whose thread waits for a processor of the host stands still at some pc, and the clock finds
it there again and again. By running time such samples count for less: of the time in which the
thread could have run, the share in which it did. That is known for each batch, not for each
sample: the kernel adds a wait to its counter when it is over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import numpy as np

from gprof.errors import UsageError
from gprof.guest.mode import Mode
from gprof.guest.vcpu_threads import VcpuThreads, VcpuTime
from gprof.sampling.source import SampleBatch

#: The weight of a sample of a vcpu that had a processor all the time, by running time.
WHOLE = 1000


class Weighing:
    """Weighs batches, and keeps account of what the host gave each vcpu.

    Args:
        threads: of the vcpus; closed with this.
        by_running: weigh by running time; else every sample weighs 1.

    Attributes:
        process: whose threads they are; 0 where that is not known.
    """

    def __init__(self, threads: VcpuThreads, *, by_running: bool = False) -> None:
        self._threads = threads
        self.process = threads.process
        self._by_running = by_running
        self._first = self._last = threads.read()

    @classmethod
    def of(cls, threads: VcpuThreads, *, by_running: bool) -> Self | None:
        """By these threads; None where there are none, and nobody insists.

        Raises:
            UsageError: there are none to weigh by running time.
        """
        if threads.vcpus:
            return cls(threads, by_running=by_running)
        if by_running:
            raise UsageError(
                "the threads that run the vcpus are not to be seen from here",
                "--weight running needs gprof on the host of the guest, and a kernel that counts "
                "(/proc/self/schedstat). Leave it out to weigh every sample alike.",
            )
        return None

    def begin(self) -> None:
        """Count from now on."""
        self._first = self._last = self._threads.read()

    def weigh(self, batch: SampleBatch) -> SampleBatch:
        """The samples taken since the last call, weighed."""
        now = self._threads.read()
        before, self._last = self._last, {**self._last, **now}
        if not self._by_running or not len(batch):
            return batch
        weight = np.full(len(batch), WHOLE, np.uint32)
        busy = batch.mode != Mode.IDLE
        for vcpu, time in now.items():
            if vcpu in before:
                share = time.since(before[vcpu]).share
                weight[busy & (batch.vcpu == vcpu)] = round(WHOLE * share)
        return replace(batch, weight=weight)

    @property
    def times(self) -> dict[int, VcpuTime]:
        """What each vcpu was given since `begin`, as of the last batch."""
        return {
            vcpu: time.since(self._first[vcpu])
            for vcpu, time in self._last.items()
            if vcpu in self._first
        }

    def close(self) -> None:
        """Let go of the threads. May be called again."""
        self._threads.close()
