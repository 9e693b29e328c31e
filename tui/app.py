"""The application: one session, its screens, and the way out."""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from textual.app import App
from textual.binding import BindingType
from textual.events import Key
from textual.theme import Theme
from textual.widgets import Input

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from tui.actions import APPLICATION, bindings
from tui.glyphs import Glyphs, glyphs_for
from tui.screens.help import HelpScreen
from tui.screens.top import TopScreen

_THEME = Theme(
    name="gprof",
    primary="#6cb6ff",
    secondary="#8ddb8c",
    accent="#f2a65a",
    warning="#e8c15a",
    error="#ff6b68",
    success="#57c785",
    foreground="#d4dae3",
    background="#10141a",
    surface="#161c24",
    panel="#1f2732",
    variables={
        "footer-key-foreground": "#6cb6ff",
        "footer-background": "#1f2732",
        "block-cursor-text-style": "none",
    },
)


class GprofApp(App[GprofError]):
    """Shows a session until the person leaves; returns how the session failed, or None."""

    CSS_PATH = "theme.tcss"
    TITLE = "gprof"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(APPLICATION)]

    def __init__(self, session: Session, top: TopScreen, glyphs: Glyphs) -> None:
        super().__init__()
        self._session = session
        self._top = top
        self._glyphs = glyphs
        self.set_class(glyphs.ascii, "ascii")
        self.register_theme(_THEME)
        # A theme that the person set for all Textual programs wins.
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = "gprof"

    def get_default_screen(self) -> TopScreen:
        """The first screen."""
        return self._top

    def on_key(self, event: Key) -> None:
        """Give a line that was just opened the keys that were already on their way.

        Keys that come in one burst, from a fast hand on a slow connection, all go to where the
        first of them found the focus, and come here when nothing there wants them.
        """
        line = self.focused
        if isinstance(line, Input) and event.character is not None and event.is_printable:
            line.insert_text_at_cursor(event.character)
            event.stop()

    async def action_quit(self) -> None:
        """Leave, with the session's failure as the result."""
        self.exit(self._session.failure)

    def action_help(self) -> None:
        """Show what every key does."""
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen())


def make_app(
    session: Session,
    *,
    refresh_s: float = 1.0,
    annotator: Annotator | None = None,
    budget_percent: float | None = None,
    glyphs: Glyphs | None = None,
) -> GprofApp:
    """The application over a session; `run()` returns the session's failure, or None.

    Args:
        session: a live guest or a recording.
        refresh_s: seconds between two looks at it.
        annotator: makes listings, in worker threads; None where instructions cannot be had.
        budget_percent: how much the guest may be halted, to show beside what it is.
        glyphs: the marks to draw with; by default what the terminal can show.
    """
    if glyphs is None:
        stream = sys.__stderr__  # where Textual writes
        glyphs = glyphs_for(stream.encoding if stream else None, os.environ)
    top = TopScreen(
        session,
        glyphs,
        refresh_s=refresh_s,
        annotator=annotator,
        budget_percent=budget_percent,
    )
    return GprofApp(session, top, glyphs)
