"""Values in the monitor's text."""

from __future__ import annotations

import re


def hexadecimal(name: str, separator: str = r"\s*=\s*") -> re.Pattern[str]:
    """A pattern for a register of this name, whose group 1 is its value.

    Args:
        name: a regular expression; no letter or digit may stand before it.
        separator: what stands between name and value, a regular expression.
    """
    return re.compile(rf"(?<![\w/]){name}{separator}([0-9a-fA-F]{{1,16}})(?![0-9a-zA-Z])")


def value(pattern: re.Pattern[str], text: str) -> int | None:
    """The value of the pattern's register; None where the text has none."""
    found = pattern.search(text)
    return int(found[1], 16) if found else None
