"""Which samples of a profile count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gprof.profile.alike import Alike
from gprof.profile.places import Placement
from gprof.profile.profile import Profile
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

    def counted(self, profile: Profile, known: Resolution) -> Alike:
        """The samples of a profile that count, added up where all of its time does."""
        within = self._within(profile.samples)
        if within is None:
            alike = known.alike(profile)
        else:
            at = np.flatnonzero(within)
            # Samples mostly come by time: a slice of them copies none.
            in_a_row = len(at) > 0 and at[-1] - at[0] < len(at)
            span = slice(int(at[0]), int(at[-1]) + 1) if in_a_row else at
            placement = known.of(profile).select(span)
            alike = Alike.among(profile.samples.select(span), placement)
        keep = self._lets_through(alike.placement, alike, known)
        return alike if keep.all() else alike.select(keep)

    def mask(self, profile: Profile, known: Resolution) -> NDArray[np.bool_]:
        """For each sample of a profile whether it counts."""
        keep = self._lets_through(known.of(profile), profile.samples, known)
        within = self._within(profile.samples)
        return keep if within is None else keep & within

    def _within(self, samples: SampleBatch) -> NDArray[np.bool_] | None:
        """For each sample whether its time counts; None where every time does."""
        if self.since_ns is None and self.until_ns is None:
            return None
        within = np.ones(len(samples), bool)
        if self.since_ns is not None:
            within &= samples.time >= self.since_ns
        if self.until_ns is not None:
            within &= samples.time < self.until_ns
        return within

    def _lets_through(
        self, placement: Placement, alike: Alike | SampleBatch, known: Resolution
    ) -> NDArray[np.bool_]:
        """For each sample or group whether it counts, as far as its time does not tell."""
        keep = np.ones(len(alike), bool)
        for column, wanted in (
            (placement.mode, self.modes),
            (alike.vcpu, self.vcpus),
            (alike.guest, self.guests),
            (alike.task, self.task_ids),
        ):
            if wanted is not None:
                keep &= np.isin(column, np.fromiter(wanted, np.int64))
        if self.tasks is not None:
            task = known.tasks.known(alike.task)  # first: the table may grow meanwhile
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
