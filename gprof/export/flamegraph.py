"""A flame graph: one SVG file that needs nothing else.

The picture is complete without its script; the script adds zoom, search, keyboard and text that
keeps its size. Names come from guests: everything is escaped, and none of it is in the script.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import BinaryIO

from gprof.export.caption import subtitle_of, title_of
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.tree import Node, NodeKind, call_tree, inverted
from symbols.names import printable

_WIDTH = 1200  # of the static picture; the script redraws it for the window
_MARGIN = 10
_HEAD = 88
_FOOT = 36
_LEVEL = 18
_CHARACTER = 7.25  # the same as in the script
_NARROWEST = 0.3  # narrower frames cannot be seen; the script draws none either
_DEEPEST = 400  # levels; deeper stacks than that are damage, and would make an endless page

#: Hue range in degrees, saturation, lightness.
_PALETTE: dict[NodeKind, tuple[tuple[int, int], float, float]] = {
    NodeKind.ROOT: ((40, 40), 0.06, 0.82),
    NodeKind.KERNEL: ((16, 42), 0.82, 0.66),
    NodeKind.MODULE: ((84, 128), 0.45, 0.64),
    NodeKind.USER: ((200, 222), 0.62, 0.72),
    NodeKind.IDLE: ((220, 230), 0.10, 0.78),
    NodeKind.FIRMWARE: ((268, 290), 0.45, 0.76),
    NodeKind.UNKNOWN: ((340, 350), 0.30, 0.80),
}


def colour(name: str, kind: NodeKind) -> str:
    """The colour of a frame: always the same for the same name and kind."""
    (first, last), saturation, lightness = _PALETTE[kind]
    mixed = zlib.crc32(name.encode("utf-8", "backslashreplace"))
    hue = first + (last - first) * (mixed & 0xFFFF) / 0xFFFF
    lighter = 0.06 * ((mixed >> 16) / 0xFFFF - 0.5)
    parts = colorsys.hls_to_rgb(hue / 360, lightness + lighter, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


@dataclass(frozen=True, slots=True)
class _Frame:
    """A node with its place: `left` in weight from the left edge, `depth` from the root."""

    node: Node
    left: int
    depth: int


@dataclass(frozen=True, slots=True)
class FlameGraph:
    """Writes one SVG. The same profile gives the same bytes.

    Attributes:
        title: above the picture; empty names the guests.
        chosen: which samples count.
        icicle: the root is above.
        inverted: what runs is the root, and its callers stand on it.
    """

    title: str = ""
    chosen: Filter = EVERYTHING
    icicle: bool = False
    inverted: bool = False

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        tree = call_tree(profile, self.chosen)
        if self.inverted:
            tree = inverted(tree)
        out.writelines(line.encode() + b"\n" for line in self._lines(profile, tree))

    def _lines(self, profile: Profile, tree: Node) -> Iterator[str]:
        frames = list(_laid_out(tree))
        height = _HEAD + _FOOT + _LEVEL * (1 + max(frame.depth for frame in frames))
        title, subtitle = title_of(profile, self.title), subtitle_of(profile, tree.total)
        yield '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" viewBox="0 0 {_WIDTH} {height}"'
            ' role="figure" aria-labelledby="title subtitle">'
        )
        yield f"<style><![CDATA[\n{_resource('flamegraph.css')}]]></style>"
        yield '<rect class="paper" width="100%" height="100%"/>'
        yield f'<text id="title" x="{_MARGIN}" y="28">{escape(title)}</text>'
        yield f'<text id="subtitle" x="{_MARGIN}" y="48">{escape(subtitle)}</text>'
        yield from _legend(tree)
        yield from _tools()
        grows = "down" if self.icicle else "up"
        yield f'<g id="frames" role="tree" aria-label="functions by call" data-grows="{grows}">'
        for frame in frames:
            level = frame.depth + 1
            y = _HEAD + _LEVEL * frame.depth if self.icicle else height - _FOOT - _LEVEL * level
            yield _drawn(frame, tree.total, y)
        yield "</g>"
        yield f'<text id="details" x="{_MARGIN}" y="{height - 12}" aria-live="polite"></text>'
        yield f"<script><![CDATA[\n{_resource('flamegraph.js')}]]></script>"
        yield "</svg>"


def _resource(name: str) -> str:
    return files("gprof.export").joinpath(name).read_text("utf-8")


def _laid_out(tree: Node) -> Iterator[_Frame]:
    """The frames that are wide enough to be seen, root first, outer before inner."""
    least = tree.total * _NARROWEST / (_WIDTH - 2 * _MARGIN)
    waiting = [_Frame(tree, 0, 0)]
    while waiting:
        frame = waiting.pop()
        yield frame
        if frame.depth == _DEEPEST:
            continue
        left, inner = frame.left, []
        for child in frame.node.children():
            if child.total >= least:
                inner.append(_Frame(child, left, frame.depth + 1))
            left += child.total
        waiting += reversed(inner)


def _drawn(frame: _Frame, whole: int, y: int) -> str:
    node = frame.node
    scale = (_WIDTH - 2 * _MARGIN) / max(whole, 1)
    x, width = _MARGIN + frame.left * scale, (node.total * scale if whole else 1180.0)
    name = printable(node.name)
    where = f" ({printable(node.module)})" if node.module and node.module != node.name else ""
    share = 100 * node.total / max(whole, 1)
    title = f"{name}{where}: {node.total:,} samples, {share:.2f} %"
    if node.own and node.own != node.total:
        title += f", {node.own:,} of them in it"
    return (
        f'<g class="frame" role="treeitem" tabindex="-1" data-name="{escape(name)}"'
        f' data-left="{frame.left}" data-weight="{node.total}" data-depth="{frame.depth}">'
        f"<title>{escape(title)}</title>"
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_LEVEL - 1}" rx="1.5"'
        f' fill="{colour(node.name, node.kind)}"/>'
        f'<text x="{x + 4:.2f}" y="{y + 12.5}">{escape(_cut(name, width))}</text></g>'
    )


def _cut(name: str, width: float) -> str:
    """As much of a name as fits into a frame."""
    room = int((width - 7) / _CHARACTER)
    if room < 3:
        return ""
    return name if len(name) <= room else name[: room - 1] + "…"


def _legend(tree: Node) -> Iterator[str]:
    """A square and a share for each kind of code that samples end in."""
    shares: dict[NodeKind, int] = {}
    for _, node in tree.walk():
        if node.own:
            shares[node.kind] = shares.get(node.kind, 0) + node.own
    yield '<g id="legend">'
    x = _MARGIN
    for kind in NodeKind:
        if kind in shares:
            text = f"{kind.value} {100 * shares[kind] / tree.total:.1f} %"
            yield f'<rect x="{x}" y="60" width="12" height="12" rx="2" fill="{colour("", kind)}"/>'
            yield f'<text x="{x + 17}" y="70">{text}</text>'
            x += 40 + 7 * len(text)
    yield "</g>"


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
