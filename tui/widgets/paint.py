"""How each tone looks in one widget."""

from __future__ import annotations

from rich.style import Style
from textual.widget import Widget

from tui.toned import Tone


class Paint:
    """The styles of tones, as the theme has them for a widget; each is computed once.

    Args:
        widget: has the component classes `tone--…`.
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
            style = self._styles[tone] = self._computed(f"tone--{tone}")
        return style

    def forget(self) -> None:
        """The theme changed."""
        self._styles.clear()
        self._base = None

    def _computed(self, name: str) -> Style:
        # The full style blends transparent colours, but carries the widget's own background:
        # that must not cover the one of the cursor's line.
        style = self._widget.get_component_rich_style(name)
        if self._widget.get_component_styles(name).background.a:
            return style
        return Style(
            color=style.color, bold=style.bold, italic=style.italic, underline=style.underline
        )
