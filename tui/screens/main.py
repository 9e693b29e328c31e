"""The main screen: a header that tells the truth, and below it one of the views."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.binding import BindingType

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.profile import Profile
from gprof.profile.view import Group, Row
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
)
from tui.condition import condition_of
from tui.editor import SourcePlace, edit
from tui.exit_rows import ExitSource
from tui.glyphs import Glyphs
from tui.image_rows import ImageRow
from tui.messages import ActionFailed, FileWritten, SourceFound
from tui.node_row import row_of
from tui.picture import Picture
from tui.screens.narrowing import NarrowingScreen
from tui.settings import Settings
from tui.view import View
from tui.widgets.prompt import Prompt, Purpose
from tui.widgets.tree_table import TreeTable


class MainScreen(NarrowingScreen):
    """The views of a session, and what can be taken from them.

    Args:
        session: what to look at.
        glyphs: the marks to draw with.
        settings: what was remembered.
        remember: keeps changed settings.
        budget_percent: how much the guest may be halted; None where there is no limit.
        exits: where VM exits are counted; None where the source has none.
        annotator: makes listings; None where instructions cannot be had.
        code: the guests' memory by id, for the code that a saved recording keeps.
        source: finds the source line of a row, in a worker thread; may raise `GprofError`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(VIEWS, LOOKING, FINDING, SORTING, TIME, TAKING)
    ]

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
        code: Mapping[int, Memory],
        source: Callable[[Row, Profile], SourcePlace] | None,
    ) -> None:
        super().__init__(
            session,
            glyphs,
            settings,
            remember,
            budget_percent=budget_percent,
            exits=exits,
            annotator=annotator,
        )
        self._code = code
        self._source = source

    # Going in

    def action_choose(self) -> None:
        """Go into what is under the cursor."""
        view, row = self._choice.view, self.table.chosen
        if view is View.SYMBOLS and isinstance(row, ImageRow):
            self._into(f"module:/^{re.escape(row.name)}$/", Group.SYMBOL)
        elif (
            view is View.TOP
            and isinstance(row, Row)
            and self._choice.group not in {Group.SYMBOL, Group.LINE}
        ):
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
            # What disassembles is imported when it is first wanted.
            from tui.screens.annotate import AnnotateScreen  # noqa: PLC0415

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
        self._say(edit(self.app, message.place))

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

    # Taking away

    def action_export(self) -> None:
        """Ask for the name of a file to write what is shown to."""
        self.prompt.open(Purpose.EXPORT, _proposed_name(".svg"))

    def action_save(self) -> None:
        """Ask for the name of a recording."""
        self.prompt.open(Purpose.SAVE, _proposed_name(".gprof"))

    def on_prompt_entered(self, message: Prompt.Entered) -> None:
        """Write the file that was asked for.

        Textual calls this and that of `NarrowingScreen`, which takes the rest.
        """
        if message.purpose not in {Purpose.EXPORT, Purpose.SAVE}:
            return
        if self.prompt.purpose is not message.purpose:  # a second Enter behind the first
            return
        self._close_prompt()
        if message.text.strip():
            path = Path(message.text.strip()).expanduser()
            self._write(message.purpose, path, self._picture)

    @work(thread=True, group="writing")
    def _write(self, purpose: Purpose, path: Path, picture: Picture | None) -> None:
        from tui.taking import export_picture, save_profile  # noqa: PLC0415  as above

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


def _proposed_name(ending: str) -> str:
    """A name for a file that does not exist yet."""
    return f"gprof-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}{ending}"
