"""The first screen: a header that tells the truth, and where the time goes below it."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Footer, Input

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.resolution import Resolution
from gprof.profile.view import Row
from gprof.sampling.source import Mode, SourceFacts
from symbols.names import printable
from tui.actions import LOOKING, SORTING, TIME, bindings
from tui.choice import Choice
from tui.glyphs import Glyphs
from tui.messages import PictureTaken
from tui.picture import Pause, Picture, State, groups_of, take_picture
from tui.screens.annotate import AnnotateScreen
from tui.toned import Piece, Tone
from tui.widgets.header import Header
from tui.widgets.line_table import LineTable
from tui.widgets.lines import Lines

#: Seconds between two looks at the session that `+` and `-` step through.
INTERVALS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


class TopScreen(Screen[None]):
    """The table of a session.

    A worker thread takes pictures of the session; the next look is timed when one is done, so
    that a slow one makes them rarer and never piles them up.

    Args:
        session: what to look at.
        glyphs: the marks to draw with.
        refresh_s: seconds between two looks.
        annotator: makes listings; None where instructions cannot be had.
        budget_percent: how much the guest may be halted; None where there is no limit.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(LOOKING, SORTING, TIME)]
    AUTO_FOCUS = "#table"

    def __init__(
        self,
        session: Session,
        glyphs: Glyphs,
        *,
        refresh_s: float,
        annotator: Annotator | None,
        budget_percent: float | None,
    ) -> None:
        super().__init__()
        self._session = session
        self._glyphs = glyphs
        self._refresh_s = refresh_s
        self._annotator = annotator
        self._budget = budget_percent
        self._choice = Choice()
        self._picture: Picture | None = None
        self._pause: Pause | None = None
        self._facts: SourceFacts | None = None
        self._known = Resolution()  # used by the one worker that runs at a time
        self._busy = False
        self._again = False
        self._timer: Timer | None = None
        self._typing = False
        self._typing_from = ""
        self._complaint: GprofError | None = None
        self._hint = ""

    def compose(self) -> ComposeResult:
        """Lay out the parts from top to bottom."""
        yield Header(self._glyphs, self._budget, id="header")
        yield LineTable[Row](self._glyphs, id="table")
        yield Lines(id="notice")
        yield Input(
            id="filter",
            placeholder="text, or /regular expression/   Enter keeps it, Esc goes back",
            compact=True,
            max_length=200,
        )
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Look for the first time."""
        self.query_one("#filter").display = False
        self.query_one("#notice", Lines).display = False
        self._look()

    @property
    def table(self) -> LineTable[Row]:
        """The table."""
        return self.query_one("#table", LineTable)

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
        return self._refresh_s

    def _look(self) -> None:
        """Take a picture now, or as soon as the one being taken is done."""
        if self._busy:
            self._again = True
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._busy, self._again = True, False
        self._take(self._choice, self._known, self._pause, self._facts)

    @work(thread=True, group="picture")
    def _take(
        self,
        choice: Choice,
        known: Resolution,
        pause: Pause | None,
        before: SourceFacts | None,
    ) -> None:
        picture = take_picture(self._session, choice, known, pause=pause, before=before)
        self.post_message(PictureTaken(picture))

    def on_picture_taken(self, message: PictureTaken) -> None:
        """Show it, and see to the next one."""
        self._busy = False
        before, picture = self._picture, message.picture
        self._picture = picture
        self._facts = picture.live.facts
        if self._again:
            self._look()
        elif picture.state is not State.ENDED:
            self._timer = self.set_timer(self._refresh_s, self._look)
        self.query_one(Header).show_picture(picture)
        self.table.show(picture.columns, picture.rows, picture.sort)
        # Another order is asked for to see what comes first in it.
        if before is not None and before.sort != picture.sort:
            self.table.move_to(0)
        self._notice()

    def _choose(self, choice: Choice) -> None:
        self._choice = choice
        self._hint = ""
        self._look()

    def _notice(self) -> None:
        """The lines below the table: failures first, then what the sampler has to say."""
        picture = self._picture
        lines: list[list[Piece]] = []
        if picture is not None and picture.failure is not None:
            lines += _told(picture.failure, Tone.BAD)
        if self._complaint is not None:
            lines += _told(self._complaint, Tone.WARN)
        elif self._hint:
            lines.append([(f" {printable(self._hint)}", Tone.WARN)])
        elif picture is not None and picture.live.facts.notes and not lines:
            lines.append([(f" {printable(picture.live.facts.notes[-1])}", Tone.DIM)])
        if picture is not None and not picture.rows.items and not lines:
            lines.append([(f" {_why_empty(picture)}", Tone.DIM)])
        self.query_one("#notice", Lines).show(lines)

    # Filter

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's signature
        """While a filter is typed, a slash is text."""
        return not (action == "filter" and self._typing)

    def action_filter(self) -> None:
        """Open the line where a filter is typed."""
        self._typing, self._typing_from = True, self._choice.text
        box = self.query_one("#filter", Input)
        box.display = True
        box.value = self._choice.text
        # Not `focus()`, which waits: keys that follow at once must already reach the box.
        self.set_focus(box)

    def on_input_changed(self, event: Input.Changed) -> None:
        """The table follows what is being typed."""
        if not self._typing:  # keys that arrived behind the one that closed the box
            return
        try:
            choice = self._choice.filtered(event.value)
        except GprofError as error:
            self._complaint = error
            self._notice()
            return
        self._complaint = None
        if choice.text != self._choice.text:
            self._choose(choice)
        self._notice()

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        if self._complaint is None:
            self._close_filter()

    def action_clear_filter(self) -> None:
        """While typing, go back to the filter before; else remove it."""
        text = self._typing_from if self._typing else ""
        self._close_filter()
        if text != self._choice.text:
            self._choose(self._choice.filtered(text))

    def _close_filter(self) -> None:
        self._complaint = None
        self._typing = False
        self.query_one("#filter").display = False
        self.set_focus(self.table)
        self._notice()

    # What is shown

    def action_next_group(self) -> None:
        """Go on to the next grouping."""
        if self._picture is not None:
            groups = groups_of(self._picture.live)
            at = groups.index(self._choice.group) if self._choice.group in groups else -1
            self._choose(replace(self._choice, group=groups[(at + 1) % len(groups)]))

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

    # Order

    def action_sort(self, number: int) -> None:
        """Sort by a column, counted from the left; by the same one again turns it around."""
        columns = self.table.columns
        if number < len(columns) and columns[number].order is not None:
            self._sort_by(columns[number].key)

    def action_sort_next(self, step: int) -> None:
        """Sort by the column beside the one that it is sorted by."""
        columns = [column.key for column in self.table.columns if column.order is not None]
        if self._picture is not None and columns:
            key = self._picture.sort[0]
            at = columns.index(key) if key in columns else 0
            self._choose(
                replace(self._choice, sort=columns[(at + step) % len(columns)], reverse=False)
            )

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._choose(replace(self._choice, reverse=not self._choice.reverse))

    def on_line_table_sorted(self, message: LineTable.Sorted) -> None:
        """A header was clicked."""
        self._sort_by(message.column)

    def _sort_by(self, key: str) -> None:
        # A grouping may lack the column that was chosen: what counts is what is shown.
        if self._picture is not None:
            shown = replace(self._choice, sort=self._picture.choice.sort)
            if self._picture.sort[0] != shown.sort:
                shown = replace(shown, sort=self._picture.sort[0])
            self._choose(shown.sorted_by(key))

    # Time

    def action_pause(self) -> None:
        """Hold the table at what it shows, or let it go on."""
        if self._pause is not None:
            self._pause = None
        elif self._picture is not None and self._picture.state is not State.ENDED:
            self._pause = Pause(self._picture.live, Resolution())
        self._look()

    def action_reset(self) -> None:
        """Forget the samples so far."""
        self._session.reset()
        self._pause = None
        self._look()

    def action_interval(self, step: int) -> None:
        """Look more often (-1) or less often (1)."""
        nearest = min(range(len(INTERVALS)), key=lambda i: abs(INTERVALS[i] - self._refresh_s))
        self._refresh_s = INTERVALS[max(0, min(nearest + step, len(INTERVALS) - 1))]
        self._look()
        self._say(f"Refreshed every {self._refresh_s:g} s.")

    # Instructions

    def action_choose(self) -> None:
        """Show the instructions of the symbol under the cursor."""
        row, picture = self.table.chosen, self._picture
        if row is None or picture is None:
            return
        if row.symbol is None:
            self._say("Only a symbol has instructions to show; this row is not one.")
        elif self._annotator is None:
            self._say("The instructions of this guest cannot be read here.")
        else:
            self.app.push_screen(AnnotateScreen(row, picture.shown, self._annotator, self._glyphs))

    def on_screen_resume(self) -> None:
        """Back from another screen."""
        if self._picture is not None:
            self._look()

    def _say(self, sentence: str) -> None:
        """One sentence until something else is chosen."""
        self._hint = sentence
        self._notice()


def _told(error: GprofError, tone: Tone) -> list[list[Piece]]:
    """Problem and remedy of an error, line by line."""
    lines: list[list[Piece]] = [
        [(f" {printable(line)}", tone)] for line in error.problem.split("\n")
    ]
    lines += [[(f" {printable(line)}", Tone.PLAIN)] for line in error.remedy.split("\n") if line]
    return lines


def _why_empty(picture: Picture) -> str:
    if not len(picture.shown.samples):
        return "No samples yet."
    return "Nothing is left of the samples: I, u, K show hidden modes, Esc removes the filter."
