"""Samples by the line of source that they lie on, added up as samples and lines come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gprof.profile.contexts import Contexts, parts, space_of
from gprof.profile.counting import MODES, weigh
from gprof.profile.growing import Growing
from gprof.profile.places import Placement
from gprof.profile.profile import Profile
from gprof.sampling.numbering import AT_ONCE, Numbering
from gprof.sampling.source import SampleBatch, UInt32s, UInt64s
from symbols.source_frames import SourceFrame
from symbols.space import AddressSpace


class Lines(Protocol):
    """Tells lines of source."""

    def __hash__(self) -> int:
        """By being the same one."""
        ...

    def at(self, space: AddressSpace, pcs: UInt64s) -> Sequence[SourceFrame | str | None]:
        """The line of each address, or why there is none; None where that may be known later."""
        ...


class NoLines:
    """Tells none."""

    def at(self, space: AddressSpace, pcs: UInt64s) -> Sequence[SourceFrame | str | None]:  # noqa: ARG002 - see `Lines`
        """See `Lines.at`."""
        return ["lines are not looked up here"] * len(pcs)


#: A guest, a module in it, and a line there or why none is known.
Spot = tuple[int, str, SourceFrame | str]

_WAITING = "its line is looked for"


class LineSpots:
    """The spots of a profile's samples, kept as it grows.

    Args:
        lines: tells the lines.

    Attributes:
        spots: every one that was met.
        places: of each a place where it was met.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.spots: list[Spot] = []
        self.places: list[int] = []
        self._spot_numbers: dict[Spot, int] = {}
        self._contexts = Contexts.unread()
        self._address: Growing[np.int32] = Growing(np.int32)  # of each sample
        # By context.
        self._pcs: dict[int, Numbering] = {}
        self._address_of_pc: dict[int, NDArray[np.int32]] = {}  # in the order of _pcs
        # Of each address.
        self._pc: Growing[np.uint64] = Growing(np.uint64)
        self._context: Growing[np.int64] = Growing(np.int64)
        self._place: Growing[np.int32] = Growing(np.int32)
        self._spot = np.empty(0, np.int32)
        self._waiting = np.empty(0, np.intp)  # addresses whose line may be known later

    def follow(self, profile: Profile, contexts: Contexts, placement: Placement) -> None:
        """Take in what is new of a profile, and of what is known of its lines."""
        known, samples = len(self._address), profile.samples
        before, self._contexts = self._contexts, contexts
        moved = contexts.moved(before, samples.select(slice(known)))
        own = placement.own[moved]
        self._address.put(moved, self._addresses(profile, samples.select(moved), own))
        self._address.reserve(len(samples))
        for first in range(known, len(samples), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            own = placement.own[rows]
            self._address.append(self._addresses(profile, samples.select(rows), own))
        first = len(self._spot)
        self._spot = np.pad(self._spot, (0, len(self._pc) - first))
        waiting = np.concatenate([self._waiting, np.arange(first, len(self._pc))])
        self._waiting = self._look_up(profile, placement, waiting)

    def weights(
        self, keep: NDArray[np.bool_], mode: NDArray[np.uint8], weight: UInt32s
    ) -> list[tuple[int, int, int]]:
        """Spot, mode and weight of the samples that are to be kept, where they weigh anything.

        Args:
            keep: for each sample whether it is.
            mode: of each sample.
            weight: of each sample.
        """
        keys = self._spot[self._address.values[keep]].astype(np.int64) * MODES + mode[keep]
        weights = weigh(keys, weight[keep], len(self.spots) * MODES)
        found = np.flatnonzero(weights)
        return [
            (key // MODES, key % MODES, amount)
            for key, amount in zip(found.tolist(), weights[found].tolist(), strict=True)
        ]

    def _addresses(
        self, profile: Profile, samples: SampleBatch, own: NDArray[np.int32]
    ) -> NDArray[np.int32]:
        """The numbers of the addresses of some samples, whose places are given."""
        found, contexts = np.empty(len(samples), np.int32), self._contexts.of(profile, samples)
        for context in np.unique(contexts).tolist():
            here = np.flatnonzero(contexts == context)
            numbers, fresh = self._pcs.setdefault(context, Numbering()).number(samples.pc[here])
            table = self._address_of_pc.get(context, np.empty(0, np.int32))
            if len(fresh):
                first = len(self._pc)
                added = np.arange(first, first + len(fresh), dtype=np.int32)
                table = self._address_of_pc[context] = np.concatenate([table, added])
                self._pc.append(fresh)
                self._context.append(np.full(len(fresh), context))
                example = np.zeros(len(self._pc), np.int32)
                example[table[numbers]] = own[here]
                self._place.append(example[first:])
            found[here] = table[numbers]
        return found

    def _look_up(
        self, profile: Profile, placement: Placement, addresses: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """Ask for the lines of some addresses; those that may be known later."""
        pcs, contexts, places = self._pc.values, self._context.values, self._place.values
        later: list[int] = []
        for context in np.unique(contexts[addresses]).tolist():
            here = addresses[contexts[addresses] == context]
            guest = parts(context)[1]
            lines = self._lines.at(space_of(profile, context), pcs[here])
            for address, line in zip(here.tolist(), lines, strict=True):
                if line is None:
                    later.append(address)
                place = int(places[address])
                spot = (guest, placement.places[place].module, line or _WAITING)
                number = self._spot_numbers.setdefault(spot, len(self.spots))
                if number == len(self.spots):
                    self.spots.append(spot)
                    self.places.append(place)
                self._spot[address] = number
        return np.array(later, np.intp)
