"""The main screen: a header that tells the truth, and below it one of the views."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import BindingType
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.exits import ExitRow
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.view import Group, Row
from gprof.sampling.source import Mode
from symbols.memory import Memory
from symbols.names import printable
from tui.actions import (
    FINDING,
    LOOKING,
    SORTING,
    TAKING,
    TIME,
    VIEWS,
    Action,
    bindings,
    view_keys,
)
from tui.choice import Choice, Order
from tui.condition import condition_of, pattern_of
from tui.editor import SourcePlace, editor_command
from tui.exit_rows import GROUPS, ExitSource
from tui.glyphs import Glyphs
from tui.image_rows import ImageRow
from tui.looker import Looker
from tui.messages import ActionFailed, FileWritten, PictureTaken, SourceFound
from tui.node_row import row_of
from tui.notices import detail_lines, notice_lines, what_is_shown
from tui.picture import Pause, Picture, State, groups_of
from tui.pills import pills
from tui.screens.annotate import AnnotateScreen
from tui.settings import Settings
from tui.taking import export_picture, proposed_name, save_profile
from tui.view import View
from tui.widgets.flame_graph import FlameGraph
from tui.widgets.header import Header
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Lines
from tui.widgets.pill_bar import PillBar
from tui.widgets.prompt import Prompt, Purpose
from tui.widgets.tab_bar import TabBar
from tui.widgets.timeline_bar import TimelineBar
from tui.widgets.tree_table import TreeTable

#: Seconds between two looks at the session that `+` and `-` step through.
INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class MainScreen(Screen[None]):
    """The views of a session.

    Args:
        session: what to look at.
        glyphs: the marks to draw with.
        settings: what was remembered.
        remember: keeps changed settings.
        annotator: makes listings; None where instructions cannot be had.
        budget_percent: how much the guest may be halted; None where there is no limit.
        exits: where VM exits are counted; None where the source has none.
        code: the guests' memory by id, for the code that a saved recording keeps.
        source: finds the source line of a row, in a worker thread; may raise `GprofError`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(VIEWS, LOOKING, FINDING, SORTING, TIME, TAKING)
    ]
    AUTO_FOCUS = "#top"

    def __init__(
        self,
        session: Session,
        glyphs: Glyphs,
        settings: Settings,
        remember: Callable[[Settings], None],
        *,
        annotator: Annotator | None,
        budget_percent: float | None,
        exits: ExitSource | None,
        code: Mapping[int, Memory],
        source: Callable[[Row, Profile], SourcePlace] | None,
    ) -> None:
        super().__init__()
        self._session = session
        self._glyphs = glyphs
        self._settings = settings
        self._remember = remember
        self._annotator = annotator
        self._budget = budget_percent
        self._code = code
        self._source = source
        self._has_exits = exits is not None
        self._choice = settings.choice()
        self._picture: Picture | None = None
        self._pause: Pause | None = None
        self._looker = Looker(self, session, exits, self._in_worker)
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
        yield Footer(show_command_palette=False, compact=True)

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
        if before is None and self._has_exits and not len(picture.live.samples):
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
        self.query_one("#notice", Lines).show(notice_lines(picture, self._complaint, self._hint))
        self._say_detail()

    def _say_detail(self) -> None:
        picture = self._picture
        lines = []
        if picture is not None and picture.choice.view is self._choice.view:
            flame = self.flame
            chosen = self.table.chosen if self._choice.view is View.SYMBOLS else None
            lines = detail_lines(picture, flame.cursor, flame.zoom, chosen, self._pattern)
        self.query_one("#detail", Lines).show(lines)

    def on_line_table_moved(self) -> None:
        """Tell about the row under the cursor."""
        if self._choice.view is View.SYMBOLS:
            self._say_detail()

    def on_flame_graph_moved(self) -> None:
        """Tell about the frame under the cursor."""
        if self._choice.view is View.FLAME:
            self._say_detail()

    # Views

    def action_view(self, name: str) -> None:
        """Show a view."""
        view = View(name)
        if view not in self.views:
            self._say("This source has no VM exits; gprof stat counts them.")
        else:
            self._choose(replace(self._choice, view=view))

    def action_next_view(self, step: int) -> None:
        """Show the next view."""
        views = self.views
        at = views.index(self._choice.view) + step
        self._choose(replace(self._choice, view=views[at % len(views)]))

    def on_tab_bar_chosen(self, message: TabBar.Chosen) -> None:
        """A tab was clicked."""
        self.action_view(message.view)

    # Filters

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """Whether an action can be done now."""
        if action in {"filter", "find"}:
            # While something is typed, keys that come before the focused widget are text.
            return self.prompt.purpose is None
        if action == "next_group":
            return self._choice.view in {View.TOP, View.EXITS}
        return True

    def action_filter(self) -> None:
        """Open the line where a filter is typed."""
        self.prompt.open(Purpose.FILTER)

    def action_find(self) -> None:
        """Open the line where something to find is typed."""
        self.prompt.open(Purpose.FIND)

    def action_find_next(self, step: int) -> None:
        """Go to the next one that was found."""
        if self._pattern is None:
            self._say("Nothing is looked for; Ctrl+F does.")
            return
        place = self.flame if self._choice.view is View.FLAME else self.table
        if not place.find_next(step):
            self._say("Nothing of what is shown has it.")

    def action_remove(self) -> None:
        """Zoom out, or forget what was looked for, or remove the newest filter."""
        if self._choice.view is View.FLAME and self.flame.zoom_out():
            return
        if self._pattern is not None:
            self._find(None)
            return
        if self._picture is not None:
            shown = replace(self._picture, choice=self._choice)
            removable = [pill for pill in pills(shown) if pill.typed]
            if removable:
                self._choose(removable[-1].without)

    def action_remove_all(self) -> None:
        """Remove every filter."""
        span = replace(self._choice.span, picked=None)
        self._choose(
            replace(self._choice, conditions=(), draft=None, vcpu=None, guest=None, span=span)
        )

    def on_pill_bar_removed(self, message: PillBar.Removed) -> None:
        """A pill was clicked."""
        without = message.without
        # Of the choice that was on screen; the view may be another one by now.
        self._choose(replace(without, view=self._choice.view))

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        """The view follows what is being typed."""
        try:
            if message.purpose is Purpose.FILTER:
                draft = condition_of(message.text)
                self._complaint = None
                self._choose(replace(self._choice, draft=draft))
            elif message.purpose is Purpose.FIND:
                pattern = pattern_of(message.text)
                self._complaint = None
                self._find(pattern)
        except GprofError as error:
            self._complaint = error
        self._say_all()

    def on_prompt_entered(self, message: Prompt.Entered) -> None:
        """Take what was typed."""
        if self.prompt.purpose is not message.purpose:  # a second Enter behind the first
            return
        if self._complaint is not None and message.purpose in {Purpose.FILTER, Purpose.FIND}:
            return
        self._close_prompt()
        if message.purpose is Purpose.FILTER:
            self._choose(self._choice.kept())
        elif message.purpose is Purpose.FIND and self._pattern is not None:
            self.action_find_next(1)
        elif message.purpose in {Purpose.EXPORT, Purpose.SAVE} and message.text.strip():
            self._write(message.purpose, Path(message.text.strip()).expanduser(), self._picture)

    def on_prompt_left(self, message: Prompt.Left) -> None:
        """Go back to what was before."""
        self._close_prompt()
        if message.purpose is Purpose.FILTER and self._choice.draft is not None:
            self._choose(replace(self._choice, draft=None))
        elif message.purpose is Purpose.FIND:
            self._find(None)

    def _close_prompt(self) -> None:
        self._complaint = None
        self.prompt.close()
        self.set_focus(self._widget())
        self._say_all()

    def _find(self, pattern: re.Pattern[str] | None) -> None:
        self._pattern = pattern
        for table in self.query(LineTable):
            table.find(pattern)
        self.flame.find(pattern)
        self._say_all()

    # What is shown

    def action_next_group(self, step: int) -> None:
        """Go on to the next grouping."""
        if self._choice.view is View.EXITS:
            at = (self._choice.exit_group + step) % len(GROUPS)
            self._choose(replace(self._choice, exit_group=at))
        elif self._picture is not None:
            groups = groups_of(self._picture.live)
            at = groups.index(self._choice.group) if self._choice.group in groups else -1
            group = groups[(at + step) % len(groups)]
            self._keep(replace(self._settings, group=group))
            self._choose(replace(self._choice, group=group, view=View.TOP))

    def action_invert(self) -> None:
        """Turn the tree round."""
        view = self._choice.view if self._choice.view.draws_tree else View.TREE
        self._choose(replace(self._choice, inverted=not self._choice.inverted, view=view))

    def action_toggle_mode(self, mode: str) -> None:
        """Hide a mode, or show it again."""
        self._choose(self._choice.toggled(Mode[mode]))

    def action_vcpu(self, step: int) -> None:
        """Go on to the next vcpu: all, 0, 1, …, all."""
        if self._picture is None:
            return
        known = {v for guest in self._picture.live.guests.values() for v in guest.vcpus}
        stations = [None, *sorted(known | {v.vcpu for v in self._picture.vcpus})]
        at = stations.index(self._choice.vcpu) if self._choice.vcpu in stations else 0
        self._choose(replace(self._choice, vcpu=stations[(at + step) % len(stations)]))

    def action_guest(self, step: int) -> None:
        """Go on to the next guest: all, the first, the second, …, all."""
        if self._picture is None or len(self._picture.live.guests) < 2:
            return
        stations = [None, *sorted(self._picture.live.guests)]
        at = stations.index(self._choice.guest) if self._choice.guest in stations else 0
        self._choose(replace(self._choice, guest=stations[(at + step) % len(stations)]))

    def on_flame_graph_turned(self, message: FlameGraph.Turned) -> None:
        """Remember it."""
        self._keep(replace(self._settings, icicle=message.icicle))

    # Order

    def action_sort(self, number: int) -> None:
        """Sort by a column, counted from the left; by the same one again turns it around."""
        columns = self.table.columns
        if number < len(columns) and columns[number].order is not None:
            self._sort_by(columns[number].key)

    def action_sort_next(self, step: int) -> None:
        """Sort by the column beside the one that it is sorted by."""
        columns = [column.key for column in self.table.columns if column.order is not None]
        if self._picture is not None and self._picture.sheet is not None and columns:
            key = self._picture.sheet.sort[0]
            at = columns.index(key) if key in columns else 0
            self._order(Order(columns[(at + step) % len(columns)]))

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._order(replace(self._choice.order, reverse=not self._choice.order.reverse))

    def on_line_table_sorted(self, message: LineTable.Sorted) -> None:
        """A header was clicked."""
        self._sort_by(message.column)

    def _sort_by(self, key: str) -> None:
        # A grouping may lack the column that was chosen: what counts is what is shown.
        if self._picture is not None and self._picture.sheet is not None:
            here = self._picture.sheet.sort[0] == key
            self._order(Order(key, here and not self._choice.order.reverse))

    def _order(self, order: Order) -> None:
        choice = self._choice.ordered(order)
        self._keep(replace(self._settings, orders=choice.orders))
        self._choose(choice)

    # Time

    def action_pause(self) -> None:
        """Hold the view at what it shows, or let it go on."""
        if self._pause is not None:
            self._pause = None
        elif self._picture is not None and self._picture.state is not State.ENDED:
            self._pause = Pause(self._picture.live, Resolution())
        self._look()

    def action_reset(self) -> None:
        """Forget the samples so far."""
        self._session.reset()
        self._pause = None
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=None)))

    def action_live(self) -> None:
        """Back to now."""
        self._pause = None
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=None)))

    def action_horizon(self) -> None:
        """Count everything, the last seconds, or the older the less."""
        span = replace(self._choice.span.next_horizon(), picked=None)
        self._choose(replace(self._choice, span=span))

    def action_length(self, step: int) -> None:
        """A longer or shorter window or half-life."""
        span = self._choice.span.stretched(step)
        self._keep(replace(self._settings, length_s=span.length_s))
        self._choose(replace(self._choice, span=span))
        self._say(f"Window and half-life are {span.length_s:g} s; w chooses between them.")

    def action_pick(self) -> None:
        """Let keys pick a period of time."""
        if self._picture is not None and len(self._picture.timeline):
            self.set_focus(self.timeline)

    def on_timeline_bar_picked(self, message: TimelineBar.Picked) -> None:
        """Every view follows."""
        self._choose(replace(self._choice, span=replace(self._choice.span, picked=message.picked)))

    def on_timeline_bar_done(self) -> None:
        """Back to the view."""
        self.set_focus(self._widget())

    def action_interval(self, step: int) -> None:
        """Look more often (-1) or less often (1)."""
        nearest = min(range(len(INTERVALS)), key=lambda i: abs(INTERVALS[i] - self.refresh_s))
        refresh = INTERVALS[max(0, min(nearest + step, len(INTERVALS) - 1))]
        self._keep(replace(self._settings, refresh_s=refresh))
        self._look()
        self._say(f"Refreshed every {refresh:g} s.")

    # Taking away

    def action_export(self) -> None:
        """Ask for the name of a file to write what is shown to."""
        self.prompt.open(Purpose.EXPORT, proposed_name(".svg"))

    def action_save(self) -> None:
        """Ask for the name of a recording."""
        self.prompt.open(Purpose.SAVE, proposed_name(".gprof"))

    @work(thread=True, group="writing")
    def _write(self, purpose: Purpose, path: Path, picture: Picture | None) -> None:
        if picture is None:
            return
        try:
            if purpose is Purpose.EXPORT:
                said = export_picture(picture, path)
            else:
                said = save_profile(self._session.snapshot(), path, self._code)
        except GprofError as error:
            self.post_message(ActionFailed(error))
        else:
            self.post_message(FileWritten(said))

    def on_file_written(self, message: FileWritten) -> None:
        """Say so."""
        self._say(message.sentence)

    def on_action_failed(self, message: ActionFailed) -> None:
        """Say why."""
        self._say(str(message.error).replace("\n", " "))

    def action_copy(self, what: str) -> None:
        """Copy the name under the cursor, or its address, to the terminal's clipboard."""
        row = self._row()
        text = self._called()
        if what == "address":
            text = f"{row.address:#x}" if row is not None and row.address else ""
        if not text:
            self._say(f"There is no {what} under the cursor.")
            return
        self.app.copy_to_clipboard(printable(text))
        self._say(f"Copied {text}, if your terminal lets programs do so.")

    # Instructions

    def action_choose(self) -> None:
        """Go into what is under the cursor."""
        view, row = self._choice.view, self.table.chosen
        if view is View.SYMBOLS and isinstance(row, ImageRow):
            self._into(f"module:/^{re.escape(row.name)}$/", Group.SYMBOL)
        elif view is View.TOP and isinstance(row, Row) and self._choice.group is not Group.SYMBOL:
            self._into_group(row)
        else:
            self.action_annotate()

    def _into_group(self, row: Row) -> None:
        """Show the symbols of a row that stands for more than one."""
        group = self._choice.group
        if group is Group.VCPU:
            guest = row.guest if len(self._guests()) > 1 else None
            self._choose(replace(self._choice, vcpu=row.vcpu, guest=guest, group=Group.SYMBOL))
        elif group is Group.GUEST:
            self._choose(replace(self._choice, guest=row.guest, group=Group.SYMBOL))
        elif group in {Group.MODE, Group.MODULE, Group.TASK}:
            self._into(f"{group}:/^{re.escape(row.label)}$/", Group.SYMBOL)
        elif group is Group.COMM:
            self._into(f"task:/^{re.escape(row.label)}( [0-9]+)?$/", Group.SYMBOL)
        else:
            self._say(f"There is nothing to go into from a {group}.")

    def _into(self, text: str, group: Group) -> None:
        draft = condition_of(text)
        self._choose(replace(self._choice, view=View.TOP, group=group, draft=draft).kept())

    def _guests(self) -> Mapping[int, Any]:
        return self._picture.live.guests if self._picture is not None else {}

    def action_annotate(self) -> None:
        """Show the instructions of the symbol under the cursor."""
        picture, row = self._picture, self._row()
        if picture is None:
            return
        if row is None or row.symbol is None:
            self._say("Only a symbol has instructions to show; this row is not one.")
        elif self._annotator is None:
            self._say("The instructions of this guest cannot be read here.")
        else:
            self.app.push_screen(AnnotateScreen(row, picture.shown, self._annotator, self._glyphs))

    def action_edit(self) -> None:
        """Open the source line of the symbol under the cursor."""
        row = self._row()
        if row is None or row.symbol is None or self._picture is None:
            self._say("Only a symbol has a source line; this row is not one.")
        elif self._source is None:
            self._say("The source lines of this guest are not known here.")
        else:
            self._find_source(self._source, row, self._picture.shown)

    @work(thread=True, group="source")
    def _find_source(
        self, source: Callable[[Row, Profile], SourcePlace], row: Row, profile: Profile
    ) -> None:
        try:
            place = source(row, profile)
        except GprofError as error:
            self.post_message(ActionFailed(error))
        else:
            self.post_message(SourceFound(place))

    def on_source_found(self, message: SourceFound) -> None:
        """Give the terminal to the editor until it ends."""
        place = message.place
        try:
            command = editor_command(os.environ, place)
            with self.app.suspend():
                subprocess.run(command, check=False)
        except GprofError as error:
            self._say(str(error).replace("\n", " "))
        except (OSError, SuspendNotSupported):
            self._say(f"The editor cannot be started here: {place.path}:{place.line}")

    def _row(self) -> Row | None:
        """The row under the cursor, or one that stands for the node there."""
        picture, view = self._picture, self._choice.view
        if picture is None:
            return None
        if view is View.TOP:
            return self.table.chosen if isinstance(self.table.chosen, Row) else None
        if view is View.FLAME and self.flame.chosen is not None:
            return row_of(self.flame.chosen, self.flame.cursor, picture.shown)
        if view is View.TREE and (chosen := self.query_one(TreeTable).chosen) is not None:
            return row_of(chosen.node, chosen.path, picture.shown)
        return None

    def _called(self) -> str:
        """What is under the cursor, by name."""
        if self._choice.view is View.FLAME:
            return self.flame.chosen.name if self.flame.chosen is not None else ""
        if self._choice.view is View.TREE:
            chosen = self.query_one(TreeTable).chosen
            return chosen.node.name if chosen is not None else ""
        chosen = self.table.chosen
        return self.table.name_of(chosen) if chosen is not None else ""

    def on_screen_resume(self) -> None:
        """Back from another screen."""
        if self._picture is not None:
            self._look()

    def symbols(self) -> list[str]:
        """The names that the palette offers."""
        places = self._picture.places if self._picture is not None else ()
        return list(dict.fromkeys(place.symbol for place in places if place.symbol is not None))

    def show_symbol(self, name: str) -> None:
        """Show Top with the cursor on a symbol, as the palette asks."""
        self._wanted = name
        self._choose(replace(self._choice, view=View.TOP, group=Group.SYMBOL))

    def say_elsewhere(self, action: Action) -> None:
        """An action of another view was asked for."""
        self._say(f"{action.label} belongs to another view.")

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
