"""Samples that differ in nothing that is counted by, added up.

A profile has few distinct ones among its samples, so that counting these costs the same after an
hour as after a minute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.profile.counting import MODES, weigh
from gprof.profile.growing import Growing, begins_with
from gprof.profile.places import Placement
from gprof.sampling.numbering import AT_ONCE, Numbering, one_of_each
from gprof.sampling.source import Int64s, SampleBatch, UInt16s, UInt32s, UInt64s

#: Whose a sample is: up to this the number of a vcpu that runs no task that is known.
_VCPUS = 1 << 16
_WHOSE_BITS = 29
#: So many samples are counted one by one several times faster than added up for one look; more
#: would take too much memory.
_ONE_BY_ONE = 1 << 22


@dataclass(frozen=True, slots=True)
class Alike:
    """Groups of samples; those of one group have the same place, stack, mode, vcpu and task.

    Attributes:
        placement: place, path and mode of each group.
        guest: u16, id of the guest of each.
        vcpu: u16, of each.
        task: u32, id of the task of each.
        count: i64, how many samples each has.
        weight: i64, what those weigh.
    """

    placement: Placement
    guest: UInt16s
    vcpu: UInt16s
    task: UInt32s
    count: Int64s
    weight: Int64s

    def __len__(self) -> int:
        return len(self.count)

    @classmethod
    def among(cls, samples: SampleBatch, placement: Placement) -> Alike:
        """Some samples for one look: each a group of its own; very many added up."""
        if len(samples) <= _ONE_BY_ONE:
            return cls(
                placement,
                samples.guest,
                samples.vcpu,
                samples.task,
                np.ones(len(samples), np.int64),
                samples.weight.astype(np.int64),
            )
        tally = Tally()
        tally.follow(samples, placement)
        return tally.alike(placement)

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
    """Adds up the samples of a profile as it grows, a piece at a time.

    Attributes:
        samples: those that were added up.
    """

    def __init__(self) -> None:
        self.samples = SampleBatch.empty()
        self._whose = Numbering()  # vcpu and task, of those with a task
        self._groups = Numbering()  # of whose, mode, and the path or the place without one
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
        new = slice(len(self.samples), None)
        self.samples = samples
        self._add(samples.select(new), placement.select(new), 1)

    def take_back(self, moved: NDArray[np.intp], before: Placement) -> None:
        """Take samples out, whose place is about to be another one; see `put_back`.

        Args:
            moved: indices of samples, among which may be some that were never added.
            before: what they were added with.
        """
        moved = moved[moved < len(self.samples)]
        self._add(self.samples.select(moved), before.select(moved), -1)
        self._emptied = True

    def put_back(self, moved: NDArray[np.intp], now: Placement) -> None:
        """Add samples again that were taken out."""
        moved = moved[moved < len(self.samples)]
        self._add(self.samples.select(moved), now.select(moved), 1)

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

    def _add(self, samples: SampleBatch, placement: Placement, sign: int) -> None:
        if not len(samples):
            return
        # What was handed out never changes.
        self._count, self._weight = self._count.copy(), self._weight.copy()
        for first in range(0, len(samples), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            self._add_piece(samples.select(rows), placement.select(rows), sign)

    def _add_piece(self, samples: SampleBatch, placement: Placement, sign: int) -> None:
        known = len(self._groups)
        groups, _ = self._groups.number(self._keys(samples, placement))
        length = len(self._groups)
        if length > known:
            example = one_of_each(groups, length)[known:]
            self._own.append(placement.own[example])
            self._path.append(placement.path[example])
            self._mode.append(placement.mode[example])
            self._guest.append(samples.guest[example])
            self._vcpu.append(samples.vcpu[example])
            self._task.append(samples.task[example])
            self._count = np.pad(self._count, (0, length - known))
            self._weight = np.pad(self._weight, (0, length - known))
        self._count += sign * np.bincount(groups, minlength=length)
        self._weight += sign * weigh(groups, samples.weight, length)

    def _keys(self, samples: SampleBatch, placement: Placement) -> UInt64s:
        """What samples of one group have in common, and no others. A place tells its guest."""
        whose = samples.vcpu.astype(np.int64)
        tasks = np.flatnonzero(samples.task)
        if len(tasks):
            pair = whose[tasks] << 32 | samples.task[tasks]
            numbers, _ = self._whose.number(pair.view(np.uint64))
            whose[tasks] = _VCPUS + numbers.astype(np.int64)
        # A path has its leaf's place.
        path = placement.path.astype(np.int64)
        where = np.where(path < 0, placement.own.astype(np.int64) << 1, path << 1 | 1)
        keys: UInt64s = ((where * MODES + placement.mode) << _WHOSE_BITS | whose).view(np.uint64)
        return keys
