"""How each tone looks: colours of the theme, so that another theme changes them all.

A table of our own and not component classes of the style sheet: Textual computes the classes of
every widget anew whenever the focus moves, and forty of them in each would cost more than all
that they are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style
from textual.color import Color

from tui.toned import Tone


@dataclass(frozen=True, slots=True)
class Look:
    """What one tone looks like.

    Attributes:
        color: of the text: a variable of the theme, or `#rrggbb`; empty for that of the widget.
        share: how much of it; the rest is what lies below.
        on: the colour behind the text; empty for that of the widget.
        on_share: how much of that.
        bold: heavier.
    """

    color: str = ""
    share: float = 1.0
    on: str = ""
    on_share: float = 1.0
    bold: bool = False

    def style(self, below: Color, variables: Mapping[str, str]) -> Style:
        """As a style, over a background.

        Args:
            below: what the widget has behind its text.
            variables: of the theme.
        """
        behind = below.blend(_color(self.on, variables), self.on_share) if self.on else below
        text = behind.blend(_color(self.color, variables), self.share) if self.color else None
        return Style(
            color=text.rich_color if text is not None else None,
            bgcolor=behind.rich_color if self.on else None,
            bold=True if self.bold else None,
        )


def _color(name: str, variables: Mapping[str, str]) -> Color:
    return Color.parse(name if name.startswith("#") else variables[name])


LOOKS: dict[Tone, Look] = {
    Tone.PLAIN: Look("foreground"),
    Tone.DIM: Look("foreground", 0.55),
    Tone.STRONG: Look(bold=True),
    Tone.TITLE: Look("primary", bold=True),
    Tone.GOOD: Look("success"),
    Tone.WARN: Look("warning", bold=True),
    Tone.BAD: Look("error", bold=True),
    Tone.HOT: Look("error"),
    Tone.WARM: Look("accent"),
    Tone.COOL: Look("primary"),
    Tone.KERNEL: Look("primary"),
    Tone.USER: Look("success"),
    Tone.OTHER: Look("warning"),
    Tone.IDLE: Look("foreground", 0.4),
    Tone.PILL: Look("foreground", on="primary", on_share=0.25),
    Tone.FOUND: Look("background", on="warning", bold=True),
    Tone.TAB: Look("foreground", 0.7),
    Tone.TAB_HERE: Look("primary", bold=True),
    Tone.KEY: Look("primary"),
    Tone.PICKED: Look("accent", on="primary", on_share=0.35, bold=True),
    # The hues of our flame graphs in SVG and HTML, darker.
    Tone.FRAME_ROOT: Look("foreground", on="panel"),
    Tone.FRAME_KERNEL: Look("#1c1206", on="#e0985a"),
    Tone.FRAME_MODULE: Look("#0f1a08", on="#8fbf63"),
    Tone.FRAME_USER: Look("#07131f", on="#79b4e3"),
    # Another shade, so that neighbours are told apart.
    Tone.FRAME_KERNEL_2: Look("#1c1206", on="#eaae78"),
    Tone.FRAME_MODULE_2: Look("#0f1a08", on="#a8d07f"),
    Tone.FRAME_USER_2: Look("#07131f", on="#98c6ec"),
    Tone.FRAME_IDLE: Look("foreground", 0.7, on="panel"),
    Tone.FRAME_FIRMWARE: Look("#150a1f", on="#b79ad6"),
    Tone.FRAME_UNKNOWN: Look("#1f0a10", on="#d393a4"),
    Tone.FRAME_FOUND: Look("#000000", on="#ffe46b", bold=True),
    Tone.FRAME_SAME: Look("#ffffff", on="#b3541e", bold=True),
    Tone.FRAME_HERE: Look("#000000", on="#ffffff", bold=True),
    Tone.BADGE_LIVE: Look("background", on="success", bold=True),
    Tone.BADGE_PAUSED: Look("background", on="warning", bold=True),
    Tone.BADGE_ENDED: Look("background", on="foreground", on_share=0.7, bold=True),
    Tone.BADGE_BAD: Look("background", on="error", bold=True),
}
assert LOOKS.keys() == set(Tone)
