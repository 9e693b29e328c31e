"""Values in the monitor's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

#: What a register of a vcpu holds, by the name that gprof has for it; None where that is unknown.
Reading: TypeAlias = Callable[[str], int | None]


def hexadecimal(name: str, separator: str = r"\s*=\s*") -> re.Pattern[str]:
    """A pattern for a register of this name, whose group 1 is its value.

    Args:
        name: a regular expression of fixed width; no letter or digit may stand before it.
        separator: what stands between name and value, a regular expression.
    """
    return word(name, rf"{separator}([0-9a-fA-F]{{1,16}})(?![0-9a-zA-Z])")


def word(name: str, rest: str) -> re.Pattern[str]:
    """A pattern for a name that no letter or digit stands before, and what follows it.

    What stands before the name is looked at behind it: a pattern that begins with letters is
    looked for ten times as fast, and every sample looks through all that is said of each vcpu.

    Args:
        name: a regular expression of fixed width.
        rest: another one.
    """
    return re.compile(rf"{name}(?<![\w/]{name}){rest}")


def value(pattern: re.Pattern[str], text: str) -> int | None:
    """The value of the pattern's register; None where the text has none."""
    found = pattern.search(text)
    return int(found[1], 16) if found else None


def reading(block: str, patterns: Mapping[str, re.Pattern[str]]) -> Reading:
    """What the monitor says of a vcpu, looked up when somebody wants it.

    Args:
        block: the text.
        patterns: of each register, by name.
    """
    return lambda name: value(patterns[name], block) if name in patterns else None
