"""A line of pieces, some of which stand for something that a click can choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from symbols.names import printable
from tui.toned import Piece, width_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Spot(Generic[T]):
    """Pieces, and what they stand for; None where a click there does nothing."""

    pieces: Sequence[Piece]
    value: T | None = None


def spotted(spots: Sequence[Spot[T]], x: int, gap: int) -> T | None:
    """What stands at a cell of a line whose spots have gaps between them."""
    left = 0
    for spot in spots:
        width = width_of([(printable(text), tone) for text, tone in spot.pieces])
        if left <= x < left + width:
            return spot.value
        left += width + gap
    return None
