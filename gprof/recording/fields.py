"""The fields of a frame, none of them believed before it was checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.errors import FormatError
from gprof.recording.format import damaged
from symbols.names import printable

#: Limits of single numbers, inclusive.
U16 = (0, (1 << 16) - 1)
U64 = (0, (1 << 64) - 1)
I32 = (-(1 << 31), (1 << 31) - 1)
I64 = (-(1 << 63), (1 << 63) - 1)

_LONGEST_BUILD_ID = 64

#: No rate comes near; beyond lie infinity and integers that no float can hold.
_GREATEST = 1e300


class Fields:
    """Checked access to one map of a frame.

    Args:
        content: the map as unpacked.
        name: of the file, for sentences.
        at: where the frame begins in the file.

    Every method raises FormatError where the field is missing or not what it should be.
    """

    def __init__(self, content: Mapping[str, Any], name: str, at: int) -> None:
        self._content = content
        self._name = name
        self._at = at

    def wrong(self, what: str) -> FormatError:
        """The error to raise for content that is well formed and senseless."""
        return damaged(self._name, self._at, what)

    def has(self, field: str) -> bool:
        """Whether the field is there: those that a later minor version added may be missing."""
        return field in self._content

    def integer(self, field: str, limits: tuple[int, int] = U64) -> int:
        """An integer within inclusive limits."""
        value = self._content.get(field)
        if type(value) is not int or not limits[0] <= value <= limits[1]:
            raise self._wrong_field(field)
        return value

    def integers(self, field: str, limits: tuple[int, int]) -> tuple[int, ...]:
        """A list of integers within inclusive limits."""
        value = self._content.get(field)
        if not isinstance(value, list) or not all(
            type(item) is int and limits[0] <= item <= limits[1] for item in value
        ):
            raise self._wrong_field(field)
        return tuple(value)

    def number(self, field: str) -> float:
        """A finite number that is not negative."""
        value = self._content.get(field)
        if type(value) is not int and type(value) is not float:
            raise self._wrong_field(field)
        if not 0 <= value < _GREATEST:
            raise self._wrong_field(field)
        return float(value)

    def flag(self, field: str) -> bool:
        """A truth value."""
        value = self._content.get(field)
        if not isinstance(value, bool):
            raise self._wrong_field(field)
        return value

    def text(self, field: str) -> str:
        """A text, made safe to show."""
        value = self._content.get(field)
        if not isinstance(value, str):
            raise self._wrong_field(field)
        return printable(value)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of texts, each made safe to show."""
        value = self._content.get(field)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong_field(field)
        return tuple(printable(item) for item in value)

    def raw(self, field: str) -> bytes:
        """Bytes."""
        value = self._content.get(field)
        if not isinstance(value, bytes):
            raise self._wrong_field(field)
        return value

    def build_id(self, field: str) -> bytes:
        """A build id; empty where unknown."""
        value = self.raw(field)
        if len(value) > _LONGEST_BUILD_ID:
            raise self._wrong_field(field)
        return value

    def column(self, field: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A column of numbers, from their little-endian bytes."""
        value = self.raw(field)
        if len(value) % dtype.itemsize:
            raise self._wrong_field(field)
        return np.frombuffer(value, dtype)

    def counts(self, field: str) -> dict[str, int]:
        """A map of texts, safe to show, to counts."""
        value = self._content.get(field)
        if not isinstance(value, dict) or not all(
            isinstance(name, str) and type(count) is int and U64[0] <= count <= U64[1]
            for name, count in value.items()
        ):
            raise self._wrong_field(field)
        return {printable(name): count for name, count in value.items()}

    def maps(self, field: str) -> list[Fields]:
        """A list of maps."""
        value = self._content.get(field)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong_field(field)
        return [Fields(item, self._name, self._at) for item in value]

    def _wrong_field(self, field: str) -> FormatError:
        return self.wrong(f"the field {field} is missing or not what it should be")
