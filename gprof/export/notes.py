"""What sampling had to say, each thing once."""

from __future__ import annotations

import re
from collections.abc import Iterable

from symbols.names import printable

#: Not what belongs to a name, such as ext4.
_NUMBER = re.compile(r"\b[0-9]+(?:\.[0-9]+)?\b")


def told(notes: Iterable[str]) -> list[str]:
    """The notes in the order in which they came last, safe to show.

    Of those that say the same with other numbers, as when the rate is lowered step by step, the
    last one stands for all.
    """
    alike: dict[str, tuple[str, int]] = {}
    for note in map(printable, notes):
        key = _NUMBER.sub("0", note)
        _, before = alike.pop(key, ("", 0))
        alike[key] = note, before + 1  # in the order in which they came last
    return [
        note + (f" That is the last of {count} such notes." if count > 1 else "")
        for note, count in alike.values()
    ]
