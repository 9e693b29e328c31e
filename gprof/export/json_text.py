"""JSON in pieces, for documents that would be too large as one Python value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

_PIECE = 20_000  # elements; some megabytes of text at most


def dumped(value: Any) -> str:
    """A value as JSON without spaces, in ASCII: no reader stumbles over an encoding."""
    return json.dumps(value, separators=(",", ":"))


def joined(elements: Iterable[str]) -> Iterator[str]:
    """The inside of an array whose elements are JSON already, in pieces."""
    rest = iter(elements)
    comma = ""
    while piece := list(islice(rest, _PIECE)):
        yield comma + ",".join(piece)
        comma = ","
