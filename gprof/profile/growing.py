"""A column that grows at its end."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_FIRST_CAPACITY = 1024

S = TypeVar("S", bound=np.generic)


class Growing(Generic[S]):
    """Values in the order in which they were appended.

    What was handed out never changes: growing copies, appending writes behind it, and other
    values are put into a copy.

    Args:
        dtype: of the values.
    """

    def __init__(self, dtype: type[S]) -> None:
        self._length = 0
        self._values: NDArray[S] = np.empty(_FIRST_CAPACITY, dtype)

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> NDArray[S]:
        """All of them; read-only."""
        view = self._values[: self._length]
        view.flags.writeable = False
        return view

    def append(self, values: NDArray[S]) -> None:
        """Add values at the end."""
        length = self._length + len(values)
        self.reserve(length)
        self._values[self._length : length] = values
        self._length = length

    def reserve(self, length: int) -> None:
        """Make room for so many, which are to be appended piece by piece."""
        if length > len(self._values):
            longer = np.empty(max(length, 2 * len(self._values)), self._values.dtype)
            longer[: self._length] = self._values[: self._length]
            self._values = longer

    def put(self, at: NDArray[np.intp], values: NDArray[S]) -> None:
        """Put other values at some places."""
        if len(at):
            self._values = self._values.copy()
            self._values[at] = values


def begins_with(column: NDArray[S], before: NDArray[S]) -> bool:
    """Whether a column begins with another one, which is often where it was cut from."""
    if len(column) < len(before):
        return False
    if (
        column.dtype == before.dtype
        and column.strides == before.strides
        and column.ctypes.data == before.ctypes.data
    ):
        return True
    return np.array_equal(column[: len(before)], before)
