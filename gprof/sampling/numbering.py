"""Small numbers for large values: columns of millions that hold a few thousand distinct ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import Int64s, UInt64s

#: 2^64 over the golden ratio: the highest bits of a product with it differ for close values.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
#: So many places of the table for each value, at least; fewer make more of them meet.
_ROOM = 8
_FIRST_BITS = 10
#: Rows that are worked on together: their columns stay in the processor's cache.
AT_ONCE = 1 << 16
#: Up to this a lookup by the value itself is many times faster than sorting.
_SMALL = 1 << 22


class Numbering:
    """Numbers distinct 64-bit values in the order of first sight.

    A table tells by a hash which number a value most likely has: that of the last one that came
    with it. The few that are another's are sought among all, sorted.
    """

    def __init__(self) -> None:
        self._values = np.empty(0, np.uint64)  # by number
        self._sorted = np.empty(0, np.uint64)
        self._number = np.empty(0, np.int32)  # of the sorted
        self._bits = _FIRST_BITS
        self._likely = np.zeros(1 << self._bits, np.int32)  # by hash

    def __len__(self) -> int:
        return len(self._values)

    def number(self, values: UInt64s) -> tuple[NDArray[np.int32], UInt64s]:
        """The number of each value, and those that were new, ordered by their number."""
        if not len(self):
            return self._sought(values)
        numbers: NDArray[np.int32] = self._likely[self._hash(values)]
        other = np.flatnonzero(self._values[numbers] != values)
        numbers[other], fresh = self._sought(values[other])
        return numbers, fresh

    def _hash(self, values: UInt64s) -> Int64s:
        return ((values * _SPREAD) >> np.uint64(64 - self._bits)).view(np.int64)

    def _sought(self, values: UInt64s) -> tuple[NDArray[np.int32], UInt64s]:
        distinct, inverse = np.unique(values, return_inverse=True)
        at = np.searchsorted(self._sorted, distinct)
        known = np.zeros(len(distinct), bool)
        within = at < len(self._sorted)
        known[within] = self._sorted[at[within]] == distinct[within]
        fresh = distinct[~known]
        numbers = np.empty(len(distinct), np.int32)
        numbers[known] = self._number[at[known]]
        numbers[~known] = np.arange(len(self), len(self) + len(fresh), dtype=np.int32)
        if len(fresh):
            self._sorted = np.insert(self._sorted, at[~known], fresh)
            self._number = np.insert(self._number, at[~known], numbers[~known])
            self._add(fresh)
        return numbers[inverse], fresh

    def _add(self, fresh: UInt64s) -> None:
        """Give new values the next numbers and their places in the table."""
        first = len(self._values)
        self._values = np.concatenate([self._values, fresh])
        if len(self._values) * _ROOM > len(self._likely):
            first, self._bits = 0, (2 * _ROOM * len(self._values)).bit_length()
            self._likely = np.zeros(1 << self._bits, np.int32)
        new = self._values[first:]
        self._likely[self._hash(new)] = np.arange(first, len(self._values), dtype=np.int32)


def distinct(values: NDArray[Any]) -> tuple[Int64s, Int64s]:
    """The distinct values of a column, ascending, and for each value its place among them.

    Args:
        values: integers, none negative.
    """
    if len(values) and values.max() < _SMALL:
        present = np.bincount(values) > 0
        return np.flatnonzero(present), (np.cumsum(present) - 1)[values]
    found, inverse = np.unique(values, return_inverse=True)
    return found.astype(np.int64), inverse.astype(np.int64)


def ascending(values: Int64s) -> Int64s:
    """The distinct values: `np.unique` for columns in which most are, where its hashes are slow."""
    ordered = np.sort(values)
    first = np.ones(len(ordered), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]


def one_of_each(numbers: NDArray[Any], length: int) -> Int64s:
    """For each number from 0 to `length` a place where it stands; of no use where it is nowhere."""
    example = np.zeros(length, np.int64)
    example[numbers] = np.arange(len(numbers))
    return example
