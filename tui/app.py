"""The application: one session, its screens, and the way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.events import Key
from textual.screen import Screen
from textual.theme import Theme
from textual.widgets import Input

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from symbols.memory import Memory
from tui.actions import APPLICATION, bindings
from tui.editor import SourcePlace
from tui.exit_rows import ExitSource
from tui.glyphs import Glyphs, glyphs_for
from tui.palette import ActionProvider, SymbolProvider
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.settings import Settings, read_settings, write_settings
from tui.source_place import source_place

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
        "block-cursor-text-style": "none",
    },
)


class GprofApp(App[GprofError]):
    """Shows a session until the person leaves; returns how the session failed, or None.

    Args:
        session: what to look at.
        main: the first screen.
        glyphs: the marks to draw with.
        theme: the one that is remembered; ours where empty.
    """

    CSS_PATH = "theme.tcss"
    TITLE = "gprof"
    COMMANDS: ClassVar[set[Any]] = {*App.COMMANDS, ActionProvider, SymbolProvider}
    BINDINGS: ClassVar[list[BindingType]] = [*bindings(APPLICATION)]

    def __init__(self, session: Session, main: MainScreen, glyphs: Glyphs, theme: str = "") -> None:
        super().__init__()
        self._session = session
        self._main = main
        self._glyphs = glyphs
        self.set_class(glyphs.ascii, "ascii")
        self.register_theme(_THEME)
        # A theme that the person set for all Textual programs wins.
        if "TEXTUAL_THEME" not in os.environ:
            self.theme = theme if theme in self.available_themes else "gprof"

    def on_mount(self) -> None:
        """Remember another theme when one is chosen."""
        self.theme_changed_signal.subscribe(self, self._remember_theme)

    def get_default_screen(self) -> MainScreen:
        """The first screen."""
        return self._main

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002 - Textual's signature
        """What the palette has beside our actions."""
        yield SystemCommand("Theme", "Choose the colours; remembered.", self.action_change_theme)

    def _remember_theme(self, theme: Theme) -> None:
        self._main.remember_theme(theme.name)

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
    refresh_s: float | None = None,
    annotator: Annotator | None = None,
    budget_percent: float | None = None,
    glyphs: Glyphs | None = None,
    exits: ExitSource | None = None,
    code: Mapping[int, Memory] | None = None,
    settings: Path | None = None,
    source: Callable[[Row, Profile], SourcePlace] | None = None,
) -> GprofApp:
    """The application over a session; `run()` returns the session's failure, or None.

    Args:
        session: a live guest or a recording.
        refresh_s: seconds between two looks at it; what is remembered where None.
        annotator: makes listings, in worker threads; None where instructions cannot be had.
        budget_percent: how much the guest may be halted, to show beside what it is.
        glyphs: the marks to draw with; by default what the terminal can show.
        exits: where VM exits are counted; None where the source has none.
        code: the guests' memory by id, for the code that a saved recording keeps.
        settings: the file with what is remembered; None remembers nothing.
        source: finds the source line of a row, in a worker thread; may raise `GprofError`. By
            the annotator where None.
    """
    if glyphs is None:
        stream = sys.__stderr__  # where Textual writes
        glyphs = glyphs_for(stream.encoding if stream else None, os.environ)
    remembered = read_settings(settings) if settings is not None else Settings()
    if refresh_s is not None:
        remembered = replace(remembered, refresh_s=refresh_s)
    main = MainScreen(
        session,
        glyphs,
        remembered,
        partial(write_settings, settings) if settings is not None else _forget,
        annotator=annotator,
        budget_percent=budget_percent,
        exits=exits,
        code=code or {},
        source=source or (partial(source_place, annotator) if annotator is not None else None),
    )
    return GprofApp(session, main, glyphs, remembered.theme)


def _forget(_settings: Settings) -> None:
    """Where nothing is remembered."""
