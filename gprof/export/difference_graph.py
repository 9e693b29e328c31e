"""A differential flame graph: red where a share grew, blue where it shrank, grey for noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from gprof.export.caption import title_of
from gprof.export.flamegraph import full_name
from gprof.export.picture import Picture
from gprof.profile.difference import Change, DifferenceNode, Verdict
from gprof.profile.profile import Profile
from symbols.names import printable

_NEW = "#d95f0e"  # colours that those who confuse red and green still tell apart
_VANISHED = "#7b5ea7"
_NOISE = "#d5d3ce"
_MORE = ((0xF7, 0xC6, 0xBB), (0xCB, 0x25, 0x2F))  # least and greatest change
_LESS = ((0xC3, 0xD9, 0xEE), (0x1F, 0x6F, 0xB4))


@dataclass(frozen=True, slots=True)
class DifferenceGraph:
    """Writes one SVG. The same profiles give the same bytes.

    Attributes:
        title: above the picture; empty names both guests.
        icicle: the root is above.
    """

    title: str = ""
    icicle: bool = False

    def write(self, tree: DifferenceNode, before: Profile, after: Profile, out: BinaryIO) -> None:
        """Write all of it.

        Args:
            tree: of both profiles.
            before: the first.
            after: the second.
            out: where to.
        """
        percent = f"{100 * tree.scale.confidence:g} %"
        titles = [title_of(profile).removeprefix("gprof: ") for profile in (before, after)]
        both = titles[0] if titles[0] == titles[1] else " → ".join(titles)
        picture = Picture(
            printable(self.title) or f"gprof diff: {both}",
            f"{tree.scale.before:,} samples before, {tree.scale.after:,} after · "
            f"width: the mean of both shares · change of a share, {percent} sure",
            [
                ("more", _shade(*_MORE, 0.7)),
                ("less", _shade(*_LESS, 0.7)),
                ("new", _NEW),
                ("vanished", _VANISHED),
                ("within the noise of sampling", _NOISE),
            ],
            tree,
            lambda node: fill_of(node.change),
            _sentence,
            self.icicle,
        )
        out.writelines(picture.lines())


def fill_of(change: Change) -> str:
    """The colour of a change: its kind, and how much it is of the greater share."""
    verdict = change.verdict
    if verdict in {Verdict.NOISE, Verdict.NEW, Verdict.VANISHED}:
        return {Verdict.NOISE: _NOISE, Verdict.NEW: _NEW, Verdict.VANISHED: _VANISHED}[verdict]
    relative = abs(change.change) / max(change.share_before, change.share_after)
    return _shade(*(_MORE if verdict is Verdict.MORE else _LESS), relative)


def _shade(least: tuple[int, ...], most: tuple[int, ...], part: float) -> str:
    channels = (round(a + (b - a) * part) for a, b in zip(least, most, strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


def _sentence(node: DifferenceNode) -> str:
    change = node.change
    text = (
        f"{full_name(node.name, node.module)}: {100 * change.share_before:.2f} % before, "
        f"{100 * change.share_after:.2f} % after, {100 * change.change:+.2f} points "
        f"({100 * change.low:+.2f} to {100 * change.high:+.2f})"
    )
    if change.verdict is Verdict.NOISE:
        return f"{text}, within the noise"
    return f"{text}, {change.verdict.value}"
