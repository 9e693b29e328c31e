"""What differs between two states that alternate in short slices of time, and how sure that is.

A host that others use as well changes its speed by tens of percent within seconds, slowly and
quickly. So the two states take turns several times a second, which of them comes first in a pair
is drawn, and only sums over many pairs are compared. Neighbouring pairs resemble each other: the
bootstrap draws blocks of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_RESAMPLED = 2000
#: Pairs of one block, and how many blocks there are at least where there are few pairs.
_BLOCK, _FEWEST_BLOCKS = 10, 8

#: Counters at one instant, and what was added to them in a slice.
Counters: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, and its 95 % confidence interval."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.1f} ({self.low:.1f} to {self.high:.1f})"

    def holds(self, most: float) -> str:
        """Whether the figure keeps to a target, as far as the whole interval says so."""
        return "met" if self.high <= most else "missed" if self.low > most else "not settled"


class Pairs:
    """Slices of two states, pair by pair.

    Args:
        rng: which state comes first.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pairs: list[tuple[Counters, Counters]] = []

    def take(self, slice_of: Callable[[bool], Counters]) -> None:
        """Take one pair.

        Args:
            slice_of: lets a slice pass, in the state or without it, and tells what it added.
        """
        found = {state: slice_of(state) for state in self._rng.sample((False, True), 2)}
        self._pairs.append((found[False], found[True]))

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def sums(self) -> tuple[Counters, Counters]:
        """All slices without the state, and all with it, added up."""
        without, within = np.sum(self._pairs, axis=0)
        return without, within

    def compare(self, figure: Callable[[Counters, Counters], Counters]) -> Interval:
        """A figure made of the two sums.

        Args:
            figure: takes both, counters along the last axis, and keeps the axes before it.
        """
        pairs = np.array(self._pairs)
        blocks = np.array_split(pairs, max(min(_FEWEST_BLOCKS, len(pairs)), len(pairs) // _BLOCK))
        sums = np.array([block.sum(axis=0) for block in blocks])
        drawn = np.random.default_rng(1).integers(0, len(sums), (_RESAMPLED, len(sums)))
        many = sums[drawn].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # of few slices many add up to nothing
            found = figure(many[:, 0], many[:, 1])
        low, high = np.percentile(found[np.isfinite(found)], [2.5, 97.5])
        return Interval(float(figure(*self.sums)), float(low), float(high))
