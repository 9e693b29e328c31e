"""Numbers for distinct values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import UInt64s


class Numbering:
    """Numbers distinct 64-bit values in the order of first sight."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._number = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._sorted)

    def number(self, values: UInt64s) -> tuple[NDArray[np.int32], UInt64s]:
        """The number of each value, and those that were new, ordered by their number."""
        distinct, inverse = np.unique(values, return_inverse=True)
        at = np.searchsorted(self._sorted, distinct)
        known = np.zeros(len(distinct), bool)
        within = at < len(self._sorted)
        known[within] = self._sorted[at[within]] == distinct[within]
        fresh = distinct[~known]
        numbers = np.empty(len(distinct), np.int32)
        numbers[known] = self._number[at[known]]
        if len(fresh):
            numbers[~known] = np.arange(len(self), len(self) + len(fresh), dtype=np.int32)
            self._sorted = np.insert(self._sorted, at[~known], fresh)
            self._number = np.insert(self._number, at[~known], numbers[~known])
        return numbers[inverse], fresh
