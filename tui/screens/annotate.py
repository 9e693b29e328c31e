"""The instructions of one symbol, and how many samples lie on each."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.widgets import Footer

from gprof.errors import GprofError
from gprof.profile.listing import Line, Listing
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from symbols.names import printable
from tui.actions import LISTING, bindings
from tui.glyphs import Glyphs
from tui.messages import ListingFailed, ListingMade
from tui.toned import Piece, Tone
from tui.widgets.column import Column, Rows, Share
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Lines


class AnnotateScreen(Screen[None]):
    """Shows what `annotate` makes of a row; a worker thread calls it.

    Args:
        row: the symbol's row.
        profile: the profile that the row is of.
        annotate: makes the listing; may raise `GprofError`.
        glyphs: the marks to draw with.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LISTING)]
    AUTO_FOCUS = "#listing"

    def __init__(
        self,
        row: Row,
        profile: Profile,
        annotate: Callable[[Row, Profile], Listing],
        glyphs: Glyphs,
    ) -> None:
        super().__init__()
        self._row = row
        self._profile = profile
        self._annotate = annotate
        self._glyphs = glyphs
        self._hot: tuple[int, ...] = ()

    def compose(self) -> ComposeResult:
        """Lay out the parts from top to bottom."""
        yield Lines(id="title")
        yield LineTable[Line](self._glyphs, id="listing")
        yield Lines(id="notice")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Have the listing made."""
        self._title(self._row.label, "reading the instructions")
        self.query_one("#notice", Lines).display = False
        self._make()

    @property
    def table(self) -> LineTable[Line]:
        """The instructions."""
        return self.query_one("#listing", LineTable)

    @work(thread=True)
    def _make(self) -> None:
        try:
            listing = self._annotate(self._row, self._profile)
        except GprofError as error:
            self.post_message(ListingFailed(error))
        else:
            self.post_message(ListingMade(listing))

    def on_listing_made(self, message: ListingMade) -> None:
        """Show it, with the cursor on the hottest instruction."""
        listing = message.listing
        self._title(
            listing.title, f"{listing.total:,} samples, {len(listing.lines):,} instructions"
        )
        hot = [i for i, line in enumerate(listing.lines) if line.samples]
        self._hot = tuple(sorted(hot, key=lambda i: -listing.lines[i].samples))
        rows = Rows.of(listing.lines, lambda line: line.address)
        self.table.show(_columns(listing, self._glyphs), rows)
        self.query_one("#notice", Lines).show(
            [[(f" {printable(note)}", Tone.WARN)] for note in listing.notes]
        )
        self.action_hottest()

    def on_listing_failed(self, message: ListingFailed) -> None:
        """Say why there is nothing to see."""
        error = message.error
        self._title(self._row.label, "no instructions")
        lines: list[list[Piece]] = [[(f" {printable(error.problem)}", Tone.BAD)]]
        lines += [
            [(f" {printable(line)}", Tone.PLAIN)] for line in error.remedy.split("\n") if line
        ]
        self.query_one("#notice", Lines).show(lines)

    def action_hottest(self) -> None:
        """Go to the instruction with the most samples."""
        if self._hot:
            self.table.move_to(self._hot[0])

    def action_hot(self, step: int) -> None:
        """Go on to the next hottest instruction, around at the ends."""
        if self._hot:
            cursor = self.table.cursor
            at = self._hot.index(cursor) + step if cursor in self._hot else 0
            self.table.move_to(self._hot[at % len(self._hot)])

    def action_back(self) -> None:
        """Go back to the table."""
        self.dismiss(None)

    def _title(self, name: str, rest: str) -> None:
        self.query_one("#title", Lines).show(
            [[(f" {printable(name)} ", Tone.TITLE), (f" {printable(rest)}", Tone.DIM)]]
        )


def _columns(listing: Listing, glyphs: Glyphs) -> tuple[Column[Line], ...]:
    largest = max((line.samples for line in listing.lines), default=0)

    def share(line: Line) -> Share | str:
        # Most instructions have no samples: blank, so that the eye finds those that have.
        return Share(line.percent, line.samples / largest) if line.samples else ""

    def text(line: Line) -> str:
        target = f"  {glyphs.arrow} {line.target_name}" if line.target_name else ""
        return f"{line.text}{target}{f'  {line.note}' if line.note else ''}"

    return (
        Column("percent", "Percent", 19, share),
        Column("samples", "Samples", 9, lambda line: f"{line.samples:,}" if line.samples else "",
               right=True, rank=2),
        Column("address", "Address", 16, lambda line: (f"{line.address:016x}", Tone.DIM)),
        Column("bytes", "Bytes", 20, lambda line: (line.bytes.hex(), Tone.DIM), rank=3),
        Column("text", "Instruction", 0, text),
    )  # fmt: skip
