"""The line that tells what the view leaves out."""

from __future__ import annotations

from textual import events
from textual.message import Message

from tui.choice import Choice
from tui.glyphs import BLOCKS, Glyphs
from tui.picture import Picture
from tui.pills import pills
from tui.toned import Piece, Tone, joined, lay, width_of
from tui.widgets.lines import Lines
from tui.widgets.spots import Spot, spotted
from tui.widgets.vcpu_bars import legend

_GAP = 1


class PillBar(Lines):
    """What rows stand for, then the pills; a click removes one.

    Args:
        glyphs: the marks to draw with.
        id: of the widget.
    """

    class Removed(Message):
        """A pill was clicked."""

        def __init__(self, without: Choice) -> None:
            super().__init__()
            self.without = without

    def __init__(self, glyphs: Glyphs = BLOCKS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._picture: Picture | None = None
        self._what = ""
        self._spots: list[Spot[Choice]] = []

    def show_picture(self, picture: Picture, what: str) -> None:
        """Draw another picture; `what` tells what the view shows."""
        self._picture, self._what = picture, what
        self._draw()

    def on_resize(self) -> None:
        """Draw for another width."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Tell which pill was clicked."""
        if (without := spotted(self._spots, event.x, _GAP)) is not None:
            self.post_message(self.Removed(without))

    def _draw(self) -> None:
        if self._picture is None:
            return
        self._spots = [Spot([(self._what, Tone.PLAIN)])]
        for pill in pills(self._picture):
            text: list[Piece] = [(f" {pill.text} {self._glyphs.remove} ", Tone.PILL)]
            self._spots.append(Spot(text, pill.without))
        left = joined([spot.pieces for spot in self._spots], " " * _GAP)
        width = self.size.width
        right = legend(self._glyphs) if self._picture.vcpus else []
        if width_of(left) + width_of(right) + 2 > width:
            right = []
        self.show([lay(left, right, width, self._glyphs.ellipsis)])
