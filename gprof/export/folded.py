"""Folded stacks: one line a distinct stack, as flame graph tools read them.

`root;caller;leaf 12`, root first, a count last. The format has no escapes: a semicolon inside a
name becomes a colon. Spaces stay, since readers take the number after the last one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.tree import call_tree
from symbols.names import printable


@dataclass(frozen=True, slots=True)
class Folded:
    """Writes folded stacks, or mode, module and symbol where no stacks were taken.

    Attributes:
        chosen: which samples count.
    """

    chosen: Filter = EVERYTHING

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`. Lines with equal text are added up."""
        lines: dict[str, int] = {}
        shown: dict[str, str] = {}  # a function is on many stacks
        for stack, weight in call_tree(profile, self.chosen).lines():
            line = ";".join(
                shown.get(name) or shown.setdefault(name, _frame(name)) for name, _, _ in stack
            )
            lines[line] = lines.get(line, 0) + weight
        out.writelines(f"{line} {lines[line]}\n".encode() for line in sorted(lines))


def _frame(name: str) -> str:
    return printable(name).replace(";", ":") or "[nameless]"
