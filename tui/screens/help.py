"""Every key and what it does, over whatever was on screen."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.actions import documented

_READING = """\
The table counts where the program counter was: "self" is the share of samples in the function \
itself. Percentages are of what is shown; the header states what is hidden. Bars compare the \
rows with each other: the largest fills its own.
"late" samples were taken more than one interval after their time, "errors" gave no sample, \
"lost" ones were dropped by their source. "halted" is the share of time in which the guest was \
kept from running, with what QEMU does around stops where that is known."""


class HelpScreen(ModalScreen[None]):
    """The help; any of the usual keys closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,f1,q,enter", "dismiss_help", "Close", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Lay out the text."""
        with VerticalScroll(id="help"):
            yield Static(help_text(), markup=False)

    def on_mount(self) -> None:
        """Let the arrow keys scroll at once."""
        frame = self.query_one("#help")
        frame.border_title = "Keys"
        frame.border_subtitle = "Esc closes"
        frame.focus()

    def action_dismiss_help(self) -> None:
        """Go back to what was on screen."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll as the arrow keys do."""
        self.query_one("#help").scroll_relative(y=lines, animate=False)


def help_text() -> Group:
    """The table of actions and how to read the screen."""
    widest = max(cell_len(shown) for _, shown, _ in documented())
    parts: list[RenderableType] = []
    for title, actions in groupby(documented(), key=lambda line: line[0]):
        keys = Table.grid(padding=(0, 2))
        keys.add_column(width=widest, no_wrap=True)
        keys.add_column()
        for _, shown, sentence in actions:
            keys.add_row(Text(shown, "bold cyan"), Text(sentence))
        parts += [Text(title, "bold"), Padding(keys, (0, 0, 1, 2))]
    parts += [Text("Reading the screen", "bold"), Padding(Text(_READING), (0, 0, 0, 2))]
    return Group(*parts)
