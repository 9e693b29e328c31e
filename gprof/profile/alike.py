"""Samples that differ in nothing that is counted by, added up.

A profile has few distinct ones among its samples, so that counting these costs the same after an
hour as after a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.profile.growing import Growing, begins_with
from gprof.profile.numbering import Numbering
from gprof.profile.places import Placement
from gprof.sampling.source import Int64s, SampleBatch, UInt16s, UInt32s

_WHOSE_BITS = 31


@dataclass(frozen=True, slots=True)
class Alike:
    """Groups of samples; those of one group have the same place, stack, mode, vcpu and task.

    Attributes:
        placement: place, path and mode of each group.
        guest: u16, id of the guest of each.
        vcpu: u16, of each.
        task: u32, id of the task of each.
        count: i64, how many samples each has.
        weight: what those weigh.
    """

    placement: Placement
    guest: UInt16s
    vcpu: UInt16s
    task: UInt32s
    count: Int64s
    weight: Int64s | UInt32s

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def each(cls, samples: SampleBatch, placement: Placement) -> Alike:
        """Every sample a group of its own, in their order."""
        return cls(
            placement,
            samples.guest,
            samples.vcpu,
            samples.task,
            np.ones(len(samples), np.int64),
            samples.weight,
        )

    def select(self, mask: NDArray[np.bool_]) -> Alike:
        """The groups where `mask` is true."""
        return Alike(
            self.placement.select(mask),
            self.guest[mask],
            self.vcpu[mask],
            self.task[mask],
            self.count[mask],
            self.weight[mask],
        )


class Tally:
    """Adds up the samples of a profile as it grows.

    Attributes:
        samples: those that were added up.
    """

    def __init__(self) -> None:
        self.samples = SampleBatch.empty()
        self._who = Numbering()  # guest, vcpu and mode
        self._whose = Numbering()  # who, and the task
        self._groups = Numbering()  # whose, and the path; or the place of a sample without one
        self._own: Growing[np.int32] = Growing(np.int32)
        self._path: Growing[np.int32] = Growing(np.int32)
        self._mode: Growing[np.uint8] = Growing(np.uint8)
        self._guest: Growing[np.uint16] = Growing(np.uint16)
        self._vcpu: Growing[np.uint16] = Growing(np.uint16)
        self._task: Growing[np.uint32] = Growing(np.uint32)
        self._count = np.empty(0, np.int64)
        self._weight = np.empty(0, np.int64)
        self._emptied = False

    def leads_to(self, samples: SampleBatch) -> bool:
        """Whether samples of the same lineage begin with these in what only counting needs."""
        before = self.samples
        return begins_with(samples.weight, before.weight) and begins_with(samples.vcpu, before.vcpu)

    def follow(self, samples: SampleBatch, placement: Placement) -> None:
        """Add what is new.

        Args:
            samples: they begin with those that were added before.
            placement: of all of them.
        """
        known, self.samples = len(self.samples), samples
        if len(samples) > known:
            self._add(np.arange(known, len(samples)), placement, 1)

    def take_back(self, moved: NDArray[np.intp], before: Placement) -> None:
        """Take samples out, whose place is about to be another one; see `put_back`.

        Args:
            moved: indices of samples, among which may be some that were never added.
            before: what they were added with.
        """
        self._add(moved[moved < len(self.samples)], before, -1)
        self._emptied = True

    def put_back(self, moved: NDArray[np.intp], now: Placement) -> None:
        """Add samples again that were taken out."""
        self._add(moved[moved < len(self.samples)], now, 1)

    def alike(self, placement: Placement) -> Alike:
        """What was added up.

        Args:
            placement: has the places and paths.
        """
        columns = replace(
            placement, own=self._own.values, path=self._path.values, mode=self._mode.values
        )
        found = Alike(
            columns,
            self._guest.values,
            self._vcpu.values,
            self._task.values,
            self._count,
            self._weight,
        )
        return found.select(self._count > 0) if self._emptied else found

    def _add(self, at: NDArray[np.intp], placement: Placement, sign: int) -> None:
        samples = self.samples
        guest, vcpu, task = samples.guest[at], samples.vcpu[at], samples.task[at]
        own, path, mode = placement.own[at], placement.path[at], placement.mode[at]
        who, _ = self._who.number(
            guest.astype(np.uint64) << np.uint64(24) | vcpu.astype(np.uint64) << np.uint64(8) | mode
        )
        whose, _ = self._whose.number(who.astype(np.uint64) << np.uint64(32) | task)
        # A path has its leaf's place.
        where = np.where(path >= 0, path.astype(np.int64) << 1 | 1, own.astype(np.int64) << 1)
        before = len(self._groups)
        groups, _ = self._groups.number(
            where.astype(np.uint64) << np.uint64(_WHOSE_BITS) | whose.astype(np.uint64)
        )
        length = len(self._groups)
        new = np.flatnonzero(groups >= before)
        example = np.empty(length - before, np.intp)
        example[groups[new] - before] = new
        self._own.append(own[example])
        self._path.append(path[example])
        self._mode.append(mode[example])
        self._guest.append(guest[example])
        self._vcpu.append(vcpu[example])
        self._task.append(task[example])
        # Weights sum as doubles: exact below 2^53.
        weight = np.bincount(groups, samples.weight[at], length).astype(np.int64)
        count = np.bincount(groups, minlength=length)
        self._count = np.pad(self._count, (0, length - before)) + sign * count
        self._weight = np.pad(self._weight, (0, length - before)) + sign * weight
