"""The line at the bottom in which a person types: a filter, something to find, a file's name."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key
from textual.message import Message
from textual.widgets import Input


class Purpose(StrEnum):
    """What is typed."""

    FILTER = "filter"
    FIND = "find"
    EXPORT = "export"
    SAVE = "save"


_EXPLAINED = {
    Purpose.FILTER: "text, /regular expression/, module:text, !mode:user, vcpu:0-3   Enter keeps",
    Purpose.FIND: "text, or /regular expression/   Enter keeps it, Esc forgets it",
    Purpose.EXPORT: "Write it to: .svg .html .folded .speedscope .pb.gz .json .csv ...   Enter",
    Purpose.SAVE: "Write a recording of all samples to this file   Enter",
}


class Prompt(Input):
    """One line, hidden until it is opened.

    Args:
        id: of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Leave", show=False)]

    class Typed(Message):
        """The text changed."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose, self.text = purpose, text

    class Entered(Message):
        """Enter was pressed."""

        def __init__(self, purpose: Purpose, text: str) -> None:
            super().__init__()
            self.purpose, self.text = purpose, text

    class Left(Message):
        """Escape was pressed."""

        def __init__(self, purpose: Purpose) -> None:
            super().__init__()
            self.purpose = purpose

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id, compact=True, max_length=400, select_on_focus=False)
        self._purpose: Purpose | None = None

    @property
    def purpose(self) -> Purpose | None:
        """What is being typed; None while it is closed."""
        return self._purpose

    @property
    def explained(self) -> str:
        """What can be typed; empty while it is closed."""
        return _EXPLAINED[self._purpose] if self._purpose is not None else ""

    def open(self, purpose: Purpose, text: str = "") -> None:
        """Show the line with some text in it, and give it the keys."""
        self._purpose = purpose
        with self.prevent(Input.Changed):
            self.value = text
        self.cursor_position = len(text)
        self.display = True
        # Not `focus()`, which waits: keys that follow at once must already reach the line.
        self.screen.set_focus(self)

    def close(self) -> None:
        """Hide the line."""
        self._purpose = None
        self.display = False

    def on_key(self, event: Key) -> None:
        """Do at once what later letters must find done.

        Textual runs the action of a key when it has gone all the way up to the application:
        letters that follow it in one burst are in the line by then.
        """
        if event.key == "enter" and self._purpose is not None:
            self.post_message(self.Entered(self._purpose, self.value))
        elif event.key == "ctrl+u":
            self.value = ""
        else:
            return
        event.stop()
        event.prevent_default()

    def action_leave(self) -> None:
        """Close without taking the text."""
        if self._purpose is not None:
            self.post_message(self.Left(self._purpose))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell what is being typed."""
        event.stop()
        if self._purpose is not None:  # else it came behind the key that closed the line
            self.post_message(self.Typed(self._purpose, event.value))
