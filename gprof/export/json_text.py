"""JSON in pieces, for documents that would be too large as one Python value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from numpy.typing import NDArray

_PIECE = 20_000  # elements; some megabytes of text at most


def dumped(value: Any) -> str:
    """A value as JSON without spaces, in ASCII: no reader stumbles over an encoding."""
    return json.dumps(value, separators=(",", ":"))


def numbers(column: NDArray[Any], power: str = "") -> Iterator[str]:
    """The inside of an array of integers, in pieces.

    Args:
        column: the integers.
        power: of ten that each is multiplied with, as `e-3`: as exact as it is in JSON, and
            several times faster to write than a fraction.
    """
    for first in range(0, len(column), _PIECE):
        text = str(column[first : first + _PIECE].tolist())[1:-1].replace(", ", f"{power},")
        yield f"{',' if first else ''}{text}{power}"


def joined(elements: Iterable[str]) -> Iterator[str]:
    """The inside of an array whose elements are JSON already, in pieces."""
    rest = iter(elements)
    comma = ""
    while piece := list(islice(rest, _PIECE)):
        yield comma + ",".join(piece)
        comma = ","
