"""Jumps within a listing as arrows beside it."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from gprof.profile.listing import Line
from symbols.disassembly import Flow

#: Arrows side by side; where there are more, the longest are left out.
MOST_LANES = 6


@dataclass(frozen=True, slots=True)
class ArrowGlyphs:
    """What arrows are drawn with, each one cell wide."""

    down: str
    across: str
    head: str
    top: str
    bottom: str
    joint: str
    crossing: str


DRAWN = ArrowGlyphs("│", "─", "▸", "┌", "└", "├", "┼")
TYPED = ArrowGlyphs("|", "-", ">", ",", "'", "+", "+")


@dataclass(frozen=True, slots=True)
class Jump:
    """From one line to another, both by their index."""

    source: int
    target: int

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last line that it passes."""
        return min(self.source, self.target), max(self.source, self.target)


def jumps_in(lines: Sequence[Line]) -> list[Jump]:
    """The jumps from one line to another one, in the order of the lines."""
    index = {line.address: i for i, line in enumerate(lines)}
    return [
        Jump(i, index[line.target])
        for i, line in enumerate(lines)
        if line.flow is Flow.JUMP and line.target in index and line.target != line.address
    ]


def arrows(lines: Sequence[Line], glyphs: ArrowGlyphs = DRAWN, most: int = MOST_LANES) -> list[str]:
    """For each line what is drawn before it: strings of equal length, empty without jumps.

    Jumps to the same line share a lane. The shortest are nearest to the text.
    """
    lanes = _lanes(jumps_in(lines), most)
    width = len(lanes)
    if not width:
        return [""] * len(lines)
    rows = [[" "] * (width + 1) for _ in lines]
    # Lane 0 is nearest to the text, which is right of it.
    for number, groups in enumerate(lanes):
        column = width - 1 - number
        for target, sources in groups:
            ends = {target, *sources}
            first, last = min(ends), max(ends)
            for i in range(first, last + 1):
                rows[i][column] = glyphs.down
            for i in ends:
                corner = glyphs.top if i == first else glyphs.bottom if i == last else glyphs.joint
                rows[i][column] = corner
    for number, groups in enumerate(lanes):
        column = width - 1 - number
        for target, sources in groups:
            for i in {target, *sources}:
                for right in range(column + 1, width):
                    passed = rows[i][right] == glyphs.down
                    if rows[i][right] in {" ", glyphs.down}:
                        rows[i][right] = glyphs.crossing if passed else glyphs.across
                if i == target:
                    rows[i][width] = glyphs.head
                elif rows[i][width] == " ":
                    rows[i][width] = glyphs.across
    return ["".join(row) for row in rows]


def _lanes(jumps: Sequence[Jump], most: int) -> list[list[tuple[int, tuple[int, ...]]]]:
    """Lanes of arrows that do not overlap, each as a target and the lines that jump there."""
    sources: dict[int, list[int]] = {}
    for jump in jumps:
        sources.setdefault(jump.target, []).append(jump.source)

    def span(target: int) -> tuple[int, int]:
        return min(target, *sources[target]), max(target, *sources[target])

    spans = {target: span(target) for target in sources}
    lanes: list[list[tuple[int, int]]] = []  # of each the spans, ascending
    found: list[list[tuple[int, tuple[int, ...]]]] = []
    for target in sorted(spans, key=lambda t: (spans[t][1] - spans[t][0], t)):
        first, last = spans[target]
        free = next(
            (n for n, taken in enumerate(lanes) if _is_free(taken, first, last)), len(lanes)
        )
        if free == len(lanes):
            if free == most:
                continue
            lanes.append([])
            found.append([])
        bisect.insort(lanes[free], (first, last))
        found[free].append((target, tuple(sources[target])))
    return found


def _is_free(taken: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Whether none of some spans, ascending and apart, touches another one."""
    after = bisect.bisect_left(taken, (first, first))
    if after < len(taken) and taken[after][0] <= last:
        return False
    return not after or taken[after - 1][1] < first
