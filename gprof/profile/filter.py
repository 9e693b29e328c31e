"""Which samples of a profile count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import Placement
from gprof.profile.resolution import Resolution
from gprof.sampling.source import Mode, SampleBatch


class Part(StrEnum):
    """Where in a frame a pattern is looked for."""

    ANY = "any"
    SYMBOL = "symbol"
    MODULE = "module"


@dataclass(frozen=True, slots=True)
class FramePattern:
    """What some frame of a sample must have, or no frame of it may have.

    Attributes:
        pattern: what to look for.
        part: where in a frame.
        absent: samples with such a frame do not count.
    """

    pattern: re.Pattern[str]
    part: Part = Part.ANY
    absent: bool = False


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
        task_ids: ids of tasks to keep, by their numbers in the profile's table.
        frames: what else the frames of a sample must have; all of it.
    """

    pattern: re.Pattern[str] | None = None
    modes: frozenset[Mode] | None = None
    vcpus: frozenset[int] | None = None
    guests: frozenset[int] | None = None
    tasks: tuple[str, ...] | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    task_ids: frozenset[int] | None = None
    frames: tuple[FramePattern, ...] = ()

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
            (samples.task, self.task_ids),
        ):
            if wanted is not None:
                keep &= np.isin(column, np.fromiter(wanted, np.int64))
        if self.tasks is not None:
            task = known.tasks.known(samples.task)  # first: the table may grow meanwhile
            keep &= known.tasks.matching(self.tasks)[task]
        if self.pattern is not None:
            keep &= self._found(FramePattern(self.pattern), placement, known)
        for wanted_frame in self.frames:
            keep &= self._found(wanted_frame, placement, known) ^ wanted_frame.absent
        return keep

    @staticmethod
    def _found(wanted: FramePattern, placement: Placement, known: Resolution) -> NDArray[np.bool_]:
        """For each sample whether any of its frames matches."""
        matched = known.matches(
            wanted.pattern,
            symbol=wanted.part is not Part.MODULE,
            module=wanted.part is not Part.SYMBOL,
        )
        if not len(matched):
            return np.zeros(len(placement.own), bool)
        # The last element stands for samples without a stack, whose path is -1.
        on_path = np.zeros(len(placement.frames) + 1, bool)
        on_path[placement.pair_path[matched[placement.pair_place]]] = True
        return matched[placement.own] | on_path[placement.path]


#: Lets every sample count.
EVERYTHING = Filter()
