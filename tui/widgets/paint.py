"""The styles of one widget, by tone."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from tui.looks import LOOKS
from tui.toned import Tone


class Paint:
    """The styles of tones over a widget's background; each is computed once.

    Args:
        widget: whose theme and background they are for.
    """

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._styles: dict[Tone, Style] = {}
        self._base: Style | None = None

    @property
    def base(self) -> Style:
        """Of the widget itself. Textual computes it anew at each look, for every ancestor."""
        if self._base is None:
            self._base = self._widget.rich_style
        return self._base

    def __getitem__(self, tone: Tone) -> Style:
        style = self._styles.get(tone)
        if style is None:
            widget = self._widget
            _, below = widget.background_colors
            style = LOOKS[tone].style(below, widget.app.theme_variables)
            self._styles[tone] = style
        return style

    def forget(self) -> None:
        """The theme changed."""
        self._styles.clear()
        self._base = None
