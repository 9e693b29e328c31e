"""Which samples of a profile count."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import Placement
from gprof.profile.resolution import Resolution
from gprof.sampling.source import Mode, SampleBatch


@dataclass(frozen=True, slots=True)
class Filter:
    """Which samples count. None lets everything through.

    Attributes:
        pattern: found in the symbol or the module of any frame of the sample.
        modes: modes to keep, as shown: idle functions of the kernel are IDLE, not KERNEL.
        vcpus: vcpus to keep.
        guests: guests to keep.
        tasks: names or numbers of tasks to keep; see `TaskTable.matching`.
        since_ns: first `time` to keep.
        until_ns: `time` after the last to keep.
    """

    pattern: re.Pattern[str] | None = None
    modes: frozenset[Mode] | None = None
    vcpus: frozenset[int] | None = None
    guests: frozenset[int] | None = None
    tasks: tuple[str, ...] | None = None
    since_ns: int | None = None
    until_ns: int | None = None

    def mask(
        self, samples: SampleBatch, placement: Placement, known: Resolution
    ) -> NDArray[np.bool_]:
        """For each sample whether it counts."""
        keep = np.ones(len(samples), bool)
        if self.since_ns is not None:
            keep &= samples.time >= self.since_ns
        if self.until_ns is not None:
            keep &= samples.time < self.until_ns
        for column, wanted in (
            (placement.mode, self.modes),
            (samples.vcpu, self.vcpus),
            (samples.guest, self.guests),
        ):
            if wanted is not None:
                keep &= np.isin(column, np.fromiter(wanted, np.int64))
        if self.tasks is not None:
            task = known.tasks.known(samples.task)  # first: the table may grow meanwhile
            keep &= known.tasks.matching(self.tasks)[task]
        if self.pattern is not None:
            keep &= self._found(self.pattern, placement, known)
        return keep

    @staticmethod
    def _found(
        pattern: re.Pattern[str], placement: Placement, known: Resolution
    ) -> NDArray[np.bool_]:
        """For each sample whether any of its frames matches."""
        matched = known.matches(pattern)
        if not len(matched):
            return np.zeros(len(placement.own), bool)
        # The last element stands for samples without a stack, whose path is -1.
        on_path = np.zeros(len(placement.frames) + 1, bool)
        on_path[placement.pair_path[matched[placement.pair_place]]] = True
        return matched[placement.own] | on_path[placement.path]


#: Lets every sample count.
EVERYTHING = Filter()
