"""A screen that looks at a session: its parts, and how a picture gets onto them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from textual import work
from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.exit_table import ExitRow
from gprof.profile.view import Group, Row
from tui.actions import (
    view_keys,
)
from tui.choice import Choice
from tui.exit_rows import ExitSource
from tui.glyphs import Glyphs
from tui.image_rows import ImageRow
from tui.looker import Looker
from tui.messages import LinesFound, PictureTaken
from tui.notices import detail_lines, notice_lines, what_is_shown
from tui.picture import Pause, Picture, State
from tui.settings import Settings
from tui.view import View
from tui.widgets.flame_graph import FlameGraph
from tui.widgets.header import Header
from tui.widgets.key_bar import KeyBar
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Lines
from tui.widgets.pill_bar import PillBar
from tui.widgets.prompt import Prompt
from tui.widgets.tab_bar import TabBar
from tui.widgets.timeline_bar import TimelineBar
from tui.widgets.tree_table import TreeTable


class SessionScreen(Screen[None]):
    """Looks at a session and shows its views; what a person may do with them is added below.

    Args:
        session: what to look at.
        glyphs: the marks to draw with.
        settings: what was remembered.
        remember: keeps changed settings.
        budget_percent: how much the guest may be halted; None where there is no limit.
        exits: where VM exits are counted; None where the source has none.
        annotator: makes listings, and finds lines; None where instructions cannot be had.
    """

    AUTO_FOCUS = "#top"

    def __init__(
        self,
        session: Session,
        glyphs: Glyphs,
        settings: Settings,
        remember: Callable[[Settings], None],
        *,
        budget_percent: float | None,
        exits: ExitSource | None,
        annotator: Annotator | None,
    ) -> None:
        super().__init__()
        self._session = session
        self._glyphs = glyphs
        self._settings = settings
        self._remember = remember
        self._budget = budget_percent
        self._has_exits = exits is not None
        self._choice = settings.choice()
        self._picture: Picture | None = None
        self._pause: Pause | None = None
        self._annotator = annotator
        self._looker = Looker(self, session, exits, self._in_worker)
        self._lines = None
        if annotator is not None:
            self._lines = annotator.search(lambda: self.post_message(LinesFound()))
        self._looker.lines = self._lines
        self._pattern: re.Pattern[str] | None = None
        self._complaint: GprofError | None = None
        self._hint = ""
        self._wanted = ""  # a symbol that the cursor shall go to

    def compose(self) -> ComposeResult:
        """Lay out the parts from top to bottom."""
        glyphs = self._glyphs
        yield Header(glyphs, self._budget, id="header")
        yield TimelineBar(glyphs, id="timeline")
        yield PillBar(glyphs, id="pills")
        yield TabBar(view_keys(self.views), glyphs, id="tabs")
        yield LineTable[Row](glyphs, id="top")
        yield TreeTable(glyphs, id="tree")
        yield FlameGraph(glyphs, id="flame")
        yield LineTable[ExitRow](glyphs, id="exits")
        yield LineTable[ImageRow](glyphs, id="symbols")
        yield Lines(id="detail")
        yield Lines(id="notice")
        yield Prompt(id="prompt")
        yield KeyBar()

    def on_mount(self) -> None:
        """Look for the first time."""
        for hidden in ("#prompt", "#notice", "#detail"):
            self.query_one(hidden).display = False
        self.query_one(FlameGraph).turn(icicle=self._settings.icicle)
        self._show_view()
        self.call_after_refresh(self._look)  # only then is known how wide everything is

    @property
    def views(self) -> tuple[View, ...]:
        """Those that this session has."""
        return tuple(view for view in View if view is not View.EXITS or self._has_exits)

    @property
    def table(self) -> LineTable[Any]:
        """The rows of the view; those of Top for a view that has none."""
        view = self._choice.view
        return self.query_one(f"#{View.TOP if view is View.FLAME else view}", LineTable)

    @property
    def flame(self) -> FlameGraph:
        """The flame graph."""
        return self.query_one(FlameGraph)

    @property
    def timeline(self) -> TimelineBar:
        """The line over time."""
        return self.query_one(TimelineBar)

    @property
    def prompt(self) -> Prompt:
        """The line that is typed into."""
        return self.query_one(Prompt)

    @property
    def picture(self) -> Picture | None:
        """What is shown; None before the first look."""
        return self._picture

    @property
    def choice(self) -> Choice:
        """What the person chose to see."""
        return self._choice

    @property
    def refresh_s(self) -> float:
        """Seconds between two looks at the session."""
        return self._settings.refresh_s

    def _look(self) -> None:
        self._looker.look(self._choice, self._pause, self.timeline.cells)

    @work(thread=True, group="picture")
    def _in_worker(self, take: Callable[[], None]) -> None:
        take()

    def on_picture_taken(self, message: PictureTaken) -> None:
        """Show it, and see to the next one."""
        before, picture = self._picture, message.picture
        self._picture = picture
        nothing = picture.state is State.ENDED and not len(picture.live.samples)
        if before is None and self._has_exits and nothing:
            self._choose(replace(self._choice, view=View.EXITS))
        self._looker.done(picture, self.refresh_s, self._look)
        self.query_one(Header).show_picture(picture)
        self.timeline.show_timeline(picture.timeline, picture.choice.span.picked)
        self._show_content(picture, before)
        self._say_all()

    def _show_content(self, picture: Picture, before: Picture | None) -> None:
        view = picture.choice.view
        if view is View.TREE and picture.tree is not None:
            self.query_one(TreeTable).show_tree(
                picture.tree, inverted=picture.choice.inverted, scale=picture.scale
            )
        elif view is View.FLAME and picture.tree is not None:
            self.flame.show_tree(picture.tree)
        elif picture.sheet is not None:
            table = self.query_one(f"#{view}", LineTable)
            sheet = picture.sheet
            table.show(sheet.columns, sheet.rows, sheet.sort)
            # Another order is asked for to see what comes first in it.
            same = before is not None and before.choice.view is view
            earlier = before.sheet if before is not None and same else None
            if earlier is not None and earlier.sort != sheet.sort:
                table.move_to(0)
            if view is View.TOP and self._wanted:
                self._go_to(self._wanted, table)

    def _go_to(self, symbol: str, table: LineTable[Row]) -> None:
        """Put the cursor on a symbol that was asked for."""
        self._wanted = ""
        at = next((i for i, row in enumerate(table.rows.items) if row.symbol == symbol), None)
        if at is None:
            self._say(f"{symbol} has no samples among those shown.")
        else:
            table.move_to(at)

    def _choose(self, choice: Choice) -> None:
        changed = choice.view is not self._choice.view
        self._choice = choice
        self._hint = ""
        if changed:
            self._show_view()
        self._look()

    def _show_view(self) -> None:
        here = self._choice.view
        for view in View:
            self.query_one(f"#{view}").display = view is here
        self.query_one(TabBar).show_view(here, ())
        if self.prompt.purpose is None:
            self.set_focus(self._widget())
        self.refresh_bindings()
        self._say_all()

    def _widget(self) -> Widget:
        return self.query_one(f"#{self._choice.view}")

    def _say_all(self) -> None:
        """The lines that tell what is shown and what went wrong."""
        picture = self._picture
        if picture is not None:
            self.query_one(PillBar).show_picture(picture, what_is_shown(picture))
        self.query_one("#notice", Lines).show(
            notice_lines(picture, self._complaint, self._hint, self.size.width)
        )
        self._say_detail()

    def _say_detail(self) -> None:
        picture = self._picture
        lines = []
        if picture is not None and picture.choice.view is self._choice.view:
            flame = self.flame
            told = self._choice.view in {View.TOP, View.SYMBOLS}
            chosen = self.table.chosen if told else None
            lines = detail_lines(picture, flame.cursor, flame.zoom, chosen, self._pattern)
        self.query_one("#detail", Lines).show(lines)

    def on_line_table_moved(self) -> None:
        """Tell about the row under the cursor."""
        if self._choice.view is View.SYMBOLS or self._choice.group is Group.LINE:
            self._say_detail()

    def on_flame_graph_moved(self) -> None:
        """Tell about the frame under the cursor."""
        if self._choice.view is View.FLAME:
            self._say_detail()

    def on_lines_found(self) -> None:
        """Show them where they are shown."""
        if self._picture is not None and self._choice.group is Group.LINE:
            self._look()

    def on_unmount(self) -> None:
        """Look for no more lines."""
        if self._lines is not None:
            self._lines.close()

    def on_screen_resume(self) -> None:
        """Back from another screen."""
        if self._picture is not None:
            self._look()

    def remember_theme(self, theme: str) -> None:
        """Another theme was chosen."""
        if theme != self._settings.theme:
            self._keep(replace(self._settings, theme=theme))

    def _keep(self, settings: Settings) -> None:
        self._settings = settings
        try:
            self._remember(settings)
        except OSError as error:
            self._say(f"Settings cannot be remembered: {error.strerror}.")

    def _say(self, sentence: str) -> None:
        """One sentence until something else is chosen."""
        self._hint = sentence
        self._say_all()
