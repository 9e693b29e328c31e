"""How busy the guest was over time, and the range of it that is looked at."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.message import Message

from tui.actions import PICKING, bindings
from tui.facts import duration
from tui.glyphs import BLOCKS, Glyphs
from tui.timeline import EMPTY, Timeline
from tui.toned import Piece, Tone, fit
from tui.widgets.lines import Lines

_LABEL = "busy "
#: A terminal with so many lines has one for the ruler.
_TALL = 30


class TimelineBar(Lines, can_focus=True, inherit_bindings=False):
    """A line of bars; with the focus, keys pick a range of time, and the mouse always does.

    Args:
        glyphs: the marks to draw with.
        id: of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(PICKING)]

    class Picked(Message):
        """Another range was picked: first time and time after the last; None for all time."""

        def __init__(self, picked: tuple[int, int] | None) -> None:
            super().__init__()
            self.picked = picked

        def can_replace(self, message: Message) -> bool:
            """Only the last of a fast hand matters."""
            return isinstance(message, TimelineBar.Picked)

    class Done(Message):
        """The person is done with picking."""

    def __init__(self, glyphs: Glyphs = BLOCKS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._timeline = EMPTY
        self._picked: tuple[int, int] | None = None
        # Times, not buckets: those grow while sampling goes on.
        self._cursor_ns: int | None = None
        self._anchor_ns: int | None = None
        self._dragging = False

    @property
    def cells(self) -> int:
        """How many buckets fit."""
        return max(self.size.width - len(_LABEL), 1)

    def show_timeline(self, timeline: Timeline, picked: tuple[int, int] | None) -> None:
        """Draw another timeline."""
        self._timeline, self._picked = timeline, picked
        if picked is None:
            self._anchor_ns = None
        self._draw()

    def on_resize(self) -> None:
        """Draw for another width."""
        self._draw()

    def on_focus(self) -> None:
        """Begin at the end of the range that is picked, or at the end of time."""
        line = self._timeline
        if not len(line):
            return
        if self._picked is not None:
            self._anchor_ns = self._picked[0]
            self._cursor_ns = self._picked[1] - 1
            self._draw()
        else:
            self._move_to(len(line) - 1)

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._draw()

    def action_step(self, buckets: int) -> None:
        """Look at another moment, or move the end of the range that is being picked."""
        self._move_to(self._at() + buckets)

    def action_stretch(self, buckets: int) -> None:
        """Move the end of a range that begins where the cursor is."""
        if self._anchor_ns is None:
            self.action_mark()
        self.action_step(buckets)

    def action_mark(self) -> None:
        """Begin a range here; a second time, end it and move on freely."""
        self._anchor_ns = self._timeline.time(self._at()) if self._anchor_ns is None else None
        self._pick()

    def action_edge(self, last: int) -> None:
        """The beginning of time (0) or its end (1)."""
        self._move_to((len(self._timeline) - 1) * last)

    def action_keep(self) -> None:
        """Done; the range stays."""
        self.post_message(self.Done())

    def action_drop(self) -> None:
        """Done; all of the time is looked at."""
        self._anchor_ns = None
        self.post_message(self.Picked(None))
        self.post_message(self.Done())

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin a range."""
        if len(self._timeline):
            self._dragging = True
            self._anchor_ns = self._timeline.time(self._under(event.x))
            self.capture_mouse()
            self._move_to(self._under(event.x))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Stretch it."""
        if self._dragging and self._under(event.x) != self._at():
            self._move_to(self._under(event.x))

    def on_mouse_up(self) -> None:
        """End it."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()
            self.action_keep()

    def _under(self, x: int) -> int:
        return max(0, min(x - self.styles.gutter.left - len(_LABEL), len(self._timeline) - 1))

    def _at(self) -> int:
        end = self._timeline.time(len(self._timeline))
        return self._timeline.bucket(end if self._cursor_ns is None else self._cursor_ns)

    def _move_to(self, bucket: int) -> None:
        line = self._timeline
        if not len(line):
            return
        self._cursor_ns = line.time(max(0, min(bucket, len(line) - 1)))
        self._pick()

    def _pick(self) -> None:
        line, here = self._timeline, self._at()
        anchor = here if self._anchor_ns is None else line.bucket(self._anchor_ns)
        first, last = sorted((anchor, here))
        self._picked = (line.time(first), line.time(last + 1))
        self._draw()
        self.post_message(self.Picked(self._picked))

    def _draw(self) -> None:
        width = self.size.width
        if width <= len(_LABEL):
            return
        lines = [self._bars()]
        if self.app.size.height >= _TALL:
            lines.append(self._ruler())
        self.show(lines)

    def _range(self) -> tuple[int, int] | None:
        """First and last bucket of what is picked."""
        if self._picked is None or not len(self._timeline):
            return None
        first, end = self._picked
        return self._timeline.bucket(first), self._timeline.bucket(end - 1)

    def _bars(self) -> list[Piece]:
        levels, chosen = self._glyphs.levels, self._range()
        pieces: list[Piece] = [(_LABEL, Tone.DIM)]
        for bucket, share in enumerate(self._timeline.busy[: self.cells].tolist()):
            mark = " "
            if not math.isnan(share):
                mark = levels[max(math.ceil(share * len(levels)) - 1, 0)]
            tone = Tone.WARM
            if chosen is not None:
                tone = Tone.PICKED if chosen[0] <= bucket <= chosen[1] else Tone.DIM
            if len(pieces) > 1 and pieces[-1][1] is tone:
                pieces[-1] = (pieces[-1][0] + mark, tone)
            else:
                pieces.append((mark, tone))
        return pieces

    def _ruler(self) -> list[Piece]:
        line, glyphs, chosen = self._timeline, self._glyphs, self._range()
        indent = " " * len(_LABEL)
        if not len(line):
            return [(indent, Tone.DIM)]
        if chosen is None:
            each = f"{duration(line.bucket_ns)} each" if line.bucket_ns >= 10**8 else "50 ms each"
            whole = duration(len(line) * line.bucket_ns)
            return [(fit(f"{indent}{whole}, {each}", self.size.width, glyphs.ellipsis), Tone.DIM)]
        first, last = chosen
        marks = glyphs.first + glyphs.inside * (last - first - 1) + glyphs.last
        if first == last:
            marks = glyphs.rising
        how = "  Left Right, Space marks, Enter keeps, Esc all time" if self.has_focus else ""
        return [
            (indent + " " * first, Tone.DIM),
            (marks, Tone.WARM),
            (how if len(_LABEL) + last + len(how) < self.size.width else "", Tone.DIM),
        ]
