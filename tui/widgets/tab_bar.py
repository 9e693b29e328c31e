"""One tab for each view."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from tui.glyphs import BLOCKS, Glyphs
from tui.toned import Piece, Tone, joined, lay
from tui.view import View
from tui.widgets.lines import Lines
from tui.widgets.spots import Spot, spotted


class TabBar(Lines):
    """Names the views and their keys; the one that is shown stands in brackets.

    Args:
        keys: the key of each view, in the order of the tabs.
        glyphs: the marks to draw with.
        id: of the widget.
    """

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, view: View) -> None:
            super().__init__()
            self.view = view

    def __init__(
        self,
        keys: Sequence[tuple[View, str]],
        glyphs: Glyphs = BLOCKS,
        *,
        id: str | None = None,  # noqa: A002 - Textual's own name
    ) -> None:
        super().__init__(id=id)
        self._keys = tuple(keys)
        self._glyphs = glyphs
        self._spots: list[Spot[View]] = []
        self._here = View.TOP
        self._right: Sequence[Piece] = ()

    def show_view(self, here: View, right: Sequence[Piece]) -> None:
        """Show where the person is, and at the right end something more."""
        self._here, self._right = here, right
        self._draw()

    def on_resize(self) -> None:
        """Draw for another width."""
        self._draw()

    def on_click(self, event: events.Click) -> None:
        """Tell which tab was clicked."""
        if (view := spotted(self._spots, event.x, 0)) is not None:
            self.post_message(self.Chosen(view))

    def _draw(self) -> None:
        self._spots = [Spot(_tab(view, key, here=view is self._here), view)
                       for view, key in self._keys]  # fmt: skip
        left = joined([spot.pieces for spot in self._spots], "")
        self.show([lay(left, self._right, self.size.width, self._glyphs.ellipsis)])


def _tab(view: View, key: str, *, here: bool) -> list[Piece]:
    tone = Tone.TAB_HERE if here else Tone.TAB
    before, after = ("[", "]") if here else (" ", " ")
    return [(before, tone), (key, Tone.TAB_HERE if here else Tone.KEY),
            (f" {view.label}{after}", tone)]  # fmt: skip
