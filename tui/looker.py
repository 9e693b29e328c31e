"""Looks at a session again and again, one picture at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.message_pump import MessagePump
from textual.timer import Timer

from gprof.live import Session
from gprof.profile.line_rows import Lines
from gprof.profile.resolution import Resolution
from gprof.sampling.source import SourceFacts
from tui.choice import Choice
from tui.exit_rows import ExitSource
from tui.messages import PictureTaken
from tui.picture import Pause, Picture, State, take_picture

#: After a look the worker rests at least so many times as long as it took: looking at millions of
#: samples must not take the processor from the thread that takes them.
_REST = 3.0


class Looker:
    """Has pictures taken in a worker thread and posts them to a screen.

    The next look is timed when one is done, so that a slow one makes them rarer and never piles
    them up; what is asked for meanwhile is looked at as soon as the one being taken is done.

    Args:
        screen: gets a `PictureTaken` for each picture, and must hand it to `done`.
        session: what to look at.
        exits: where VM exits are counted; None where there are none.
        work: runs a function in a worker thread.

    Attributes:
        lines: tells the lines of source; None where they cannot be had.
    """

    def __init__(
        self,
        screen: MessagePump,
        session: Session,
        exits: ExitSource | None,
        work: Callable[[Callable[[], None]], object],
    ) -> None:
        self._screen = screen
        self._session = session
        self._exits = exits
        self._work = work
        self.lines: Lines | None = None
        self._known = Resolution()  # used by the one worker that runs at a time
        self._facts: SourceFacts | None = None
        self._busy = False
        self._again = False
        self._begun = 0.0
        self._timer: Timer | None = None

    def look(self, choice: Choice, pause: Pause | None, cells: int) -> None:
        """Take a picture now; while one is being taken, remember that another is wanted."""
        if self._busy:
            self._again = True
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        self._busy, self._again = True, False
        self._begun = time.monotonic()
        before = self._facts

        def take() -> None:
            picture = take_picture(
                self._session,
                choice,
                self._known,
                pause=pause,
                before=before,
                cells=cells,
                exits=self._exits,
                lines=self.lines,
            )
            self._screen.post_message(PictureTaken(picture))

        self._work(take)

    def done(self, picture: Picture, refresh_s: float, look: Callable[[], None]) -> None:
        """A picture came: see to the next one.

        Args:
            picture: the one that came.
            refresh_s: seconds until the next one.
            look: asks for it.
        """
        self._busy = False
        self._facts = picture.live.facts
        if self._again:
            look()
        elif picture.state is not State.ENDED:
            took = time.monotonic() - self._begun
            self._timer = self._screen.set_timer(max(refresh_s, _REST * took), look)
