"""A few lines of toned text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from tui.toned import Piece
from tui.widgets.paint import Paint


class Lines(Widget):
    """Shows lines as they are given, and is as high as they are many."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._paint = Paint(self)
        self._lines: tuple[Sequence[Piece], ...] = ()

    def show(self, lines: Sequence[Sequence[Piece]]) -> None:
        """Show other lines."""
        if len(lines) != len(self._lines):
            self.styles.height = len(lines)
            self.display = bool(lines)
        self._lines = tuple(lines)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One of the lines."""
        width, base = self.size.width, self._paint.base
        if y >= len(self._lines):
            return Strip.blank(width, base)
        segments = [Segment(text, base + self._paint[tone]) for text, tone in self._lines[y]]
        return Strip(segments).adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Another theme: paint everything anew."""
        super().notify_style_update()
        self._paint.forget()
