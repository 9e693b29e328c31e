"""The keys that are wanted most, on the last line."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.screen import Screen

from tui.toned import Tone, joined
from tui.widgets.lines import Lines
from tui.widgets.prompt import Prompt
from tui.widgets.spots import Spot, spotted


class KeyBar(Lines):
    """Names what the keys do that work now, or what can be typed.

    Keys have a place here as far as their actions ask for one.

    Textual's Footer has a widget for each key, and takes as long to mount and to style as the
    rest of a screen together.
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._spots: list[Spot[str]] = []

    def on_mount(self) -> None:
        """Follow the focus, and what can be done."""
        self.show([[]])
        self.screen.bindings_updated_signal.subscribe(self, self._follow)

    def on_click(self, event: events.Click) -> None:
        """A click on a key is that key."""
        if (key := spotted(self._spots, event.x, 1)) is not None:
            self.app.simulate_key(key)

    def _follow(self, screen: Screen[Any]) -> None:
        if screen is not self.screen:
            return
        if isinstance(screen.focused, Prompt):
            self._spots = []
            self.show([[(screen.focused.explained, Tone.PLAIN)]])
            return
        spots: dict[str, Spot[str]] = {}
        for _, binding, _, _ in screen.active_bindings.values():
            if binding.show and binding.action not in spots:
                pieces = (
                    (self.app.get_key_display(binding), Tone.TITLE),
                    (f" {binding.description}", Tone.PLAIN),
                )
                spots[binding.action] = Spot(pieces, binding.key)
        self._spots = list(spots.values())
        self.show([joined([spot.pieces for spot in self._spots], " ")])
