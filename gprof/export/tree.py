"""The tree of calls as indented text, the heaviest branch first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gprof.export.heading import heading
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.tree import Direction, Node, call_tree
from symbols.names import printable

#: A branch with less than this share of all is left out, percent.
SMALLEST = 0.5
_DEEPEST = 128


@dataclass(frozen=True, slots=True)
class TextTree:
    """Writes a call tree for people; lines that are no nodes begin with `#`.

    Attributes:
        chosen: which samples count.
        direction: from the roots to the leaves, or from the leaves to their callers.
        around: only stacks with this function, from it on; all where empty.
        smallest: branches below this percentage are counted, not shown.
    """

    chosen: Filter = EVERYTHING
    direction: Direction = Direction.DOWN
    around: str = ""
    smallest: float = SMALLEST

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        out.write(self.text(profile).encode())

    def text(self, profile: Profile) -> str:
        """The whole tree."""
        tree = call_tree(profile, self.chosen, direction=self.direction, around=self.around)
        lines = [f"# {line}".rstrip() for line in heading(profile, tree.total)]
        if not tree.total:
            return "\n".join([*lines, "#", "# no samples"]) + "\n"
        down = self.direction is Direction.DOWN
        lines += ["#", f"# Total%  {' Self%  ' if down else ''}Function"]
        lines += self._lines(tree)
        return "\n".join(lines) + "\n"

    def _lines(self, tree: Node) -> Iterator[str]:
        least = self.smallest * tree.total / 100
        waiting: list[tuple[int, Node]] = [(0, node) for node in reversed(tree.children())]
        left_out = 0
        while waiting:
            depth, node = waiting.pop()
            if node.total < least or depth >= _DEEPEST:
                left_out += 1
                continue
            name = printable(node.name)
            module = f"  {printable(node.module)}" if node.module not in {"", "[kernel]"} else ""
            line = f"{100 * node.total / tree.total:8.2f}"
            if self.direction is Direction.DOWN:  # upwards, what is left is how stacks begin
                line += f"{100 * node.own / tree.total:8.2f}"
            yield f"{line}  {'  ' * depth}{name}{module}"
            waiting += [(depth + 1, child) for child in reversed(node.children())]
        if left_out:
            yield f"# {left_out} branches with less than {self.smallest:g} % are not shown"
