"""A flame graph as an SVG that needs nothing else: boxes on boxes, a heading, a legend.

The picture is complete without its script; the script adds zoom, search, keyboard and text that
keeps its size. Names come from guests: everything is escaped, and none of it is in the script.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Generic, Protocol, Self, TypeVar

from symbols.names import printable

_WIDTH = 1200  # of the static picture; the script redraws it for the window
_MARGIN = 10
_HEAD = 88
_FOOT = 36
_LEVEL = 18
_CHARACTER = 7.25  # the same as in the script
_NARROWEST = 0.3  # narrower frames cannot be seen; the script draws none either
_DEEPEST = 400  # levels; deeper stacks than that are damage, and would make an endless page


class Branch(Protocol):
    """What can be drawn: children whose totals add up to no more than its own."""

    @property
    def name(self) -> str:
        """As the guest calls it."""
        ...

    @property
    def total(self) -> int:
        """How wide it is."""
        ...

    def children(self) -> Sequence[Self]:
        """From left to right."""
        ...


B = TypeVar("B", bound=Branch)


@dataclass(frozen=True, slots=True)
class Picture(Generic[B]):
    """One SVG.

    Attributes:
        title: above it.
        subtitle: below the title.
        legend: text and colour of each entry.
        root: what is drawn.
        fill: the colour of a branch.
        sentence: what is said of a branch.
        icicle: the root is above.
    """

    title: str
    subtitle: str
    legend: Sequence[tuple[str, str]]
    root: B
    fill: Callable[[B], str]
    sentence: Callable[[B], str]
    icicle: bool = False

    def lines(self) -> Iterator[bytes]:
        """The file, line by line."""
        return (line.encode() + b"\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        frames = list(_laid_out(self.root))
        height = _HEAD + _FOOT + _LEVEL * (1 + max(frame.depth for frame in frames))
        yield '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {height}"'
            ' role="figure" aria-labelledby="title subtitle">'
        )
        yield f"<style><![CDATA[\n{_resource('flamegraph.css')}]]></style>"
        yield '<rect class="paper" width="100%" height="100%"/>'
        yield f'<text id="title" x="{_MARGIN}" y="28">{escape(self.title)}</text>'
        yield f'<text id="subtitle" x="{_MARGIN}" y="48">{escape(self.subtitle)}</text>'
        yield from self._drawn_legend()
        yield from _tools()
        grows = "down" if self.icicle else "up"
        yield f'<g id="frames" role="tree" aria-label="functions by call" data-grows="{grows}">'
        for frame in frames:
            level = frame.depth + 1
            y = _HEAD + _LEVEL * frame.depth if self.icicle else height - _FOOT - _LEVEL * level
            yield self._drawn(frame, y)
        yield "</g>"
        yield f'<text id="details" x="{_MARGIN}" y="{height - 12}" aria-live="polite"></text>'
        yield f"<script><![CDATA[\n{_resource('flamegraph.js')}]]></script>"
        yield "</svg>"

    def _drawn(self, frame: _Frame[B], y: int) -> str:
        branch, whole = frame.branch, self.root.total
        scale = (_WIDTH - 2 * _MARGIN) / max(whole, 1)
        x, width = _MARGIN + frame.left * scale, (branch.total * scale if whole else 1180.0)
        name = printable(branch.name)
        return (
            f'<g class="frame" role="treeitem" tabindex="-1" data-name="{escape(name)}"'
            f' data-left="{frame.left}" data-weight="{branch.total}" data-depth="{frame.depth}">'
            f"<title>{escape(self.sentence(branch))}</title>"
            f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_LEVEL - 1}" rx="1.5"'
            f' fill="{self.fill(branch)}"/>'
            f'<text x="{x + 4:.2f}" y="{y + 12.5}">{escape(_cut(name, width))}</text></g>'
        )

    def _drawn_legend(self) -> Iterator[str]:
        yield '<g id="legend">'
        x = _MARGIN
        for text, fill in self.legend:
            yield f'<rect x="{x}" y="60" width="12" height="12" rx="2" fill="{fill}"/>'
            yield f'<text x="{x + 17}" y="70">{escape(text)}</text>'
            x += 40 + 7 * len(text)
        yield "</g>"


@dataclass(frozen=True, slots=True)
class _Frame(Generic[B]):
    """A branch with its place: `left` in weight from the left edge, `depth` from the root."""

    branch: B
    left: int
    depth: int


def _laid_out(root: B) -> Iterator[_Frame[B]]:
    """The frames that are wide enough to be seen, root first, outer before inner."""
    least = root.total * _NARROWEST / (_WIDTH - 2 * _MARGIN)
    waiting = [_Frame(root, 0, 0)]
    while waiting:
        frame = waiting.pop()
        yield frame
        if frame.depth == _DEEPEST:
            continue
        left, inner = frame.left, []
        for child in frame.branch.children():
            if child.total >= least:
                inner.append(_Frame(child, left, frame.depth + 1))
            left += child.total
        waiting += reversed(inner)


def _resource(name: str) -> str:
    return files("gprof.export").joinpath(name).read_text("utf-8")


def _cut(name: str, width: float) -> str:
    """As much of a name as fits into a frame."""
    room = int((width - 7) / _CHARACTER)
    if room < 3:
        return ""
    return name if len(name) <= room else name[: room - 1] + "…"


def _tools() -> Iterator[str]:
    """Shown by the script, since they do nothing without it. Placed from the right edge."""
    yield f'<g id="tools" class="hidden" transform="translate({_WIDTH - _MARGIN} 0)">'
    for name, label, x in (("reset", "Reset zoom (Esc)", -112), ("search", "Search (/)", 0)):
        hidden = " hidden" if name == "reset" else ""
        yield (
            f'<g id="{name}" class="button{hidden}" role="button" tabindex="0">'
            f'<text x="{x}" y="28" text-anchor="end">{label}</text></g>'
        )
    yield '<text id="matched" x="0" y="74" text-anchor="end" aria-live="polite"></text>'
    yield '<foreignObject id="field" class="hidden" x="-220" y="36" width="220" height="24"/>'
    yield "</g>"
