"""The instructions of one symbol with its source, and how many samples lie on each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Input
from textual.worker import get_current_worker

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.profile.listing import Line, Listing
from gprof.profile.profile import Profile
from gprof.profile.source_rows import SourceRow, Sum
from gprof.profile.view import Row
from symbols.disassembly import Syntax
from symbols.names import printable
from tui.actions import LISTING, bindings
from tui.editor import edit
from tui.glyphs import Glyphs
from tui.listing_rows import FOLDS, ListingChoice, ListingRow, columns_of, rows_of, text_of
from tui.messages import ListingFailed, ListingMade
from tui.source_place import place_of
from tui.toned import Piece, Tone
from tui.widgets.key_bar import KeyBar
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Lines


@dataclass(frozen=True, slots=True)
class _Place:
    """A symbol that was looked at, and where in it the cursor was.

    Attributes:
        address: any of the symbol's.
        cursor: address of the instruction under the cursor; None for the hottest.
    """

    address: int
    cursor: int | None = None


class AnnotateScreen(Screen[None]):
    """Shows the listing of a row's symbol, and from there of what it jumps to and calls.

    A worker thread makes listings: first the instructions, then their sources, which may take a
    while.

    Args:
        row: the symbol's row.
        profile: the profile that the row is of.
        annotator: makes listings.
        glyphs: the marks to draw with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LISTING)]
    AUTO_FOCUS = "#listing"

    def __init__(self, row: Row, profile: Profile, annotator: Annotator, glyphs: Glyphs) -> None:
        super().__init__()
        self._row = row
        self._profile = profile
        self._annotator = annotator
        self._glyphs = glyphs
        self._choice = ListingChoice()
        self._place = _Place(row.address)
        self._before: list[_Place] = []
        self._listing: Listing | None = None
        self._hot: tuple[int, ...] = ()
        self._sought = ""
        self._typing = False
        self._hint = ""

    def compose(self) -> ComposeResult:
        """Lay out the parts from top to bottom."""
        yield Lines(id="title")
        yield LineTable[ListingRow](self._glyphs, id="listing")
        yield Lines(id="notice")
        yield Input(id="search", placeholder="text to look for", compact=True, max_length=200)
        yield KeyBar()

    def on_mount(self) -> None:
        """Have the listing made."""
        self._title(self._row.label, "reading the instructions")
        self.query_one("#notice", Lines).display = False
        self.query_one("#search").display = False
        self._make(self._place.address, self._choice)

    @property
    def table(self) -> LineTable[ListingRow]:
        """The instructions."""
        return self.query_one("#listing", LineTable)

    @work(thread=True, group="listing", exclusive=True)
    def _make(self, address: int, choice: ListingChoice) -> None:
        worker = get_current_worker()
        try:
            if self._row.symbol is None:
                self._annotator.of_row(self._row, self._profile)
            listing = self._annotator.at_address(
                self._profile, self._row.guest, address, syntax=choice.syntax
            )
            if not worker.is_cancelled:
                self.post_message(ListingMade(listing))
            sourced = self._annotator.with_sources(self._profile, listing)
            if sourced is not listing and not worker.is_cancelled:
                self.post_message(ListingMade(sourced))
        except GprofError as error:
            if not worker.is_cancelled:
                self.post_message(ListingFailed(error))

    def on_listing_made(self, message: ListingMade) -> None:
        """Show it, with the cursor on the hottest instruction, or where it was left."""
        again = self._listing is not None and self._listing.at == message.listing.at
        self._listing = message.listing
        self._show()
        if again:
            self._go(self.table.cursor)
            return
        if self._place.cursor is None:
            self.action_hottest()
        else:
            self._move_to_address(self._place.cursor)

    def on_listing_failed(self, message: ListingFailed) -> None:
        """Say why there is nothing to see."""
        error = message.error
        if self._listing is not None and self._before:
            # What was called has no code to show: stay where we are.
            self._place = self._before.pop()
            self._say(error.problem)
            return
        self._title(self._row.label, "no instructions")
        lines: list[list[Piece]] = [[(f" {printable(error.problem)}", Tone.BAD)]]
        lines += [
            [(f" {printable(line)}", Tone.PLAIN)] for line in error.remedy.split("\n") if line
        ]
        self.query_one("#notice", Lines).show(lines)

    def _show(self) -> None:
        """Show the listing as it was chosen to be seen."""
        listing, choice = self._listing, self._choice
        if listing is None:
            return
        rows = rows_of(listing, choice, self._annotator.tree.line)
        measure = choice.measure
        count = len(listing.lines)
        self._title(
            listing.title,
            f"{listing.totals.samples:,} samples, {count:,} instructions"
            f"{', percent of all' if measure.of_all else ''}"
            f"{', by count' if measure.hits else ''}",
        )
        weights = {
            i: item.weight
            for i, item in enumerate(rows.items)
            if isinstance(item, Line | Sum) and item.weight
            if not (isinstance(item, Sum) and choice.fold == "lines" and not item.frame.line)
        }
        self._hot = tuple(sorted(weights, key=lambda i: -weights[i]))
        self.table.show(columns_of(listing, choice, self._glyphs), rows)
        self._notice()

    def _notice(self) -> None:
        notes = [self._hint] if self._hint else []
        if self._listing is not None and not notes:
            notes = list(self._listing.notes)
        self.query_one("#notice", Lines).show(
            [[(f" {printable(note)}", Tone.WARN)] for note in notes]
        )

    def _say(self, sentence: str) -> None:
        """One sentence until something else is done."""
        self._hint = sentence
        self._notice()

    def _choose(self, choice: ListingChoice) -> None:
        self._hint = ""
        again = choice.syntax != self._choice.syntax
        self._choice = choice
        if again:
            self._make(self._place.address, choice)
        else:
            self._show()

    # Moving

    def action_hottest(self) -> None:
        """Go to the instruction with the most samples."""
        if self._hot:
            self._go(self._hot[0])

    def action_hot(self, step: int) -> None:
        """Go on to the next hottest instruction, around at the ends."""
        if self._hot:
            cursor = self.table.cursor
            at = self._hot.index(cursor) + step if cursor in self._hot else 0
            self._go(self._hot[at % len(self._hot)])

    def action_follow(self) -> None:
        """Go where the instruction jumps or what it calls; from a sum to its instructions."""
        row, listing = self.table.chosen, self._listing
        if listing is None:
            return
        if isinstance(row, Sum):
            self._choose(replace(self._choice, fold=FOLDS[0]))
            self._move_to_address(row.first)
            return
        if not isinstance(row, Line) or row.target is None:
            self._say("Only a jump or a call with a known target leads anywhere.")
            return
        self._before.append(replace(self._place, cursor=row.address))
        symbol = listing.at.symbol
        if symbol.start <= row.target < symbol.end:
            self._move_to_address(row.target)
        else:
            self._open(_Place(row.target))

    def action_back(self) -> None:
        """Go back to where Enter was pressed, and from the first symbol to the table."""
        if self._typing:
            self._close_search()
            return
        if not self._before:
            self.dismiss(None)
            return
        place = self._before.pop()
        listing = self._listing
        if listing is not None and place.cursor is not None:
            symbol = listing.at.symbol
            if symbol.start <= place.cursor < symbol.end:
                self._place = place
                self._move_to_address(place.cursor)
                return
        self._open(place)

    def _open(self, place: _Place) -> None:
        self._hint = ""
        self._place = place
        self._make(place.address, self._choice)

    def _go(self, index: int) -> None:
        """Put the cursor on a row, with some of what follows in sight."""
        self.table.move_to(index + self.table.size.height // 2)
        self.table.move_to(index)

    def _move_to_address(self, address: int) -> None:
        """Put the cursor on the instruction that holds an address."""
        found = [
            i
            for i, row in enumerate(self.table.rows.items)
            if isinstance(row, Line) and row.address <= address < row.address + len(row.bytes)
        ]
        if found:
            self._go(found[0])

    def action_edit(self) -> None:
        """Open the source of the row under the cursor; of inlined code where it was written."""
        row = self.table.chosen
        if isinstance(row, Line):
            frame = row.chain[0] if row.chain else None
        else:
            frame = row.frame if isinstance(row, SourceRow | Sum) else None
        if frame is None:
            self._say("The source of this row is not known.")
            return
        try:
            self._say(edit(self.app, place_of(self._annotator.tree, frame)))
        except GprofError as error:
            self._say(str(error).replace("\n", " "))

    # What is shown

    def action_fold(self) -> None:
        """Add up by line of source, then by function, then show instructions again."""
        if self._listing is not None and not any(line.chain for line in self._listing.lines):
            self._say("The source of this function is not known.")
            return
        at = FOLDS.index(self._choice.fold)
        self._choose(replace(self._choice, fold=FOLDS[(at + 1) % len(FOLDS)]))
        self.action_hottest()

    def action_turn(self, what: str) -> None:
        """Turn something on or off."""
        changed: dict[str, Any] = {what: not getattr(self._choice, what)}
        self._choose(replace(self._choice, **changed))

    def action_measure(self, what: str) -> None:
        """Take percentages of something else."""
        measure = self._choice.measure
        changed = replace(measure, **{what: not getattr(measure, what)})
        self._choose(replace(self._choice, measure=changed))

    def action_syntax(self) -> None:
        """Write x86 instructions in the other way."""
        other: Syntax = "intel" if self._choice.syntax == "att" else "att"
        self._choose(replace(self._choice, syntax=other))

    # Search

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """While a text is typed, a slash is text."""
        return not (action == "search" and self._typing)

    def action_search(self) -> None:
        """Open the line where the text is typed."""
        self._typing = True
        box = self.query_one("#search", Input)
        box.display = True
        box.value = ""
        # Not `focus()`, which waits: keys that follow at once must already reach the box.
        self.set_focus(box)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look for the text."""
        self._sought = event.value
        self._close_search()
        self.action_seek(1)

    def action_seek(self, step: int) -> None:
        """Go on to the next row that has the text, around at the ends."""
        rows = self.table.rows.items
        sought = self._sought.lower()
        if not sought or not rows:
            return
        for distance in range(1, len(rows) + 1):
            at = (self.table.cursor + step * distance) % len(rows)
            if sought in text_of(rows[at], self._choice, self._glyphs)[0].lower():
                self._hint = ""
                self._notice()
                self._go(at)
                return
        self._say(f"{self._sought!r} is nowhere in this listing.")

    def _close_search(self) -> None:
        self._typing = False
        self.query_one("#search").display = False
        self.set_focus(self.table)

    def _title(self, name: str, rest: str) -> None:
        self.query_one("#title", Lines).show(
            [[(f" {printable(name)} ", Tone.TITLE), (f" {printable(rest)}", Tone.DIM)]]
        )
