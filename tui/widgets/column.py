"""What a table shows: columns, the cells in them, and the rows with their keys."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from tui.toned import Piece

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """A number with a bar.

    Attributes:
        percent: the number.
        length: how much of the bar is filled, 0 to 1.
    """

    percent: float
    length: float


#: Text, a count, a number with a bar, or text in one tone.
Cell: TypeAlias = str | int | Share | Piece


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table.

    Attributes:
        key: names it to the program.
        title: names it to people.
        width: in cells; 0 for the one column that takes what is left.
        cell: what it shows of a row.
        order: what rows are sorted by; None where they cannot be.
        falling: the largest comes first.
        right: text ends at its right edge, as numbers do.
        stretch: cells that it may get on top, where the terminal is wide.
        rank: where the terminal is narrow, the column of the highest rank goes first; 0 stays.
    """

    key: str
    title: str
    width: int
    cell: Callable[[T], Cell]
    order: Callable[[T], Any] | None = None
    falling: bool = False
    right: bool = False
    stretch: int = 0
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """The rows of a table, and where each key is among them.

    Attributes:
        items: the rows in order.
        keys: what makes each of them the same row in the next table.
        positions: the index of each key.
    """

    items: tuple[T, ...]
    keys: tuple[Hashable, ...]
    positions: dict[Hashable, int]

    @classmethod
    def of(cls, items: Iterable[T], key: Callable[[T], Hashable]) -> Rows[T]:
        """Rows from items; costs a dictionary entry each, so build it outside of the screen."""
        kept = tuple(items)
        keys = tuple(map(key, kept))
        return cls(kept, keys, {k: i for i, k in enumerate(keys)})

    def __len__(self) -> int:
        return len(self.items)
