"""Samples as they accumulate: one growing numpy column a property."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import COLUMN_TYPES, SampleBatch

_FIRST_CAPACITY = 4096
_MOST_ROOM = 1 << 24


class SampleTable:
    """An append-only table of samples.

    Rows that were handed out never change: growing copies into new columns, and appending
    writes behind them. So a `frozen` batch may be read in another thread while this one grows.

    Args:
        room: how many samples are expected; what is not used costs no memory.
    """

    def __init__(self, room: int = 0) -> None:
        self._length = 0
        capacity = min(max(room, _FIRST_CAPACITY), _MOST_ROOM)
        self._columns: dict[str, NDArray[Any]] = {
            name: np.empty(capacity, dtype) for name, dtype in COLUMN_TYPES.items()
        }

    def __len__(self) -> int:
        return self._length

    def append(self, batch: SampleBatch) -> None:
        """Add the samples of a batch at the end."""
        length = self._length + len(batch)
        capacity = len(self._columns["pc"])
        if length > capacity:
            capacity = max(length, 2 * capacity)
            columns = {}
            for name, column in self._columns.items():
                columns[name] = np.empty(capacity, column.dtype)
                columns[name][: self._length] = column[: self._length]
            self._columns = columns
        for name, column in self._columns.items():
            column[self._length : length] = getattr(batch, name)
        self._length = length

    def frozen(self, since: int = 0) -> SampleBatch:
        """The samples from index `since` on, as read-only columns that stay as they are."""
        views = {}
        length, columns = self._length, self._columns
        for name, column in columns.items():
            view = column[since:length]
            view.flags.writeable = False
            views[name] = view
        return SampleBatch(**views)
