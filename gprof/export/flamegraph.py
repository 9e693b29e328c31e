"""A flame graph of one profile."""

from __future__ import annotations

import colorsys
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from gprof.export.caption import subtitle_of, title_of
from gprof.export.picture import Picture
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.tree import Node, NodeKind, call_tree, inverted
from symbols.names import printable

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
        whole = max(tree.total, 1)

        def sentence(node: Node) -> str:
            text = f"{full_name(node.name, node.module)}: {node.total:,} samples"
            text += f", {100 * node.total / whole:.2f} %"
            if node.own and node.own != node.total and not self.inverted:
                text += f", {node.own:,} of them in it"
            return text

        picture = Picture(
            title_of(profile, self.title),
            subtitle_of(profile, tree.total),
            _legend(tree),
            inverted(tree) if self.inverted else tree,
            lambda node: colour(node.name, node.kind),
            sentence,
            self.icicle,
        )
        out.writelines(picture.lines())


def full_name(name: str, module: str) -> str:
    """A function and, where that says more, its module in brackets."""
    name, module = printable(name), printable(module)
    return f"{name} ({module})" if module and module != name else name


def _legend(tree: Node) -> list[tuple[str, str]]:
    """The share of each kind of code that samples end in."""
    shares: dict[NodeKind, int] = {}
    for _, node in tree.walk():
        if node.own:
            shares[node.kind] = shares.get(node.kind, 0) + node.own
    return [
        (f"{kind.value} {100 * shares[kind] / tree.total:.1f} %", colour("", kind))
        for kind in NodeKind
        if kind in shares
    ]
