"""Filters and finding, typed into a line at the bottom."""

from __future__ import annotations

import re
from dataclasses import replace

from gprof.errors import GprofError
from tui.condition import condition_of, pattern_of
from tui.pills import pills
from tui.screens.choosing import ChoosingScreen
from tui.view import View
from tui.widgets.line_table import LineTable
from tui.widgets.pill_bar import PillBar
from tui.widgets.prompt import Prompt, Purpose


class NarrowingScreen(ChoosingScreen):
    """A session's screen that samples can be filtered and found on."""

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
        # It may come behind the Enter that ended it, or behind more letters.
        if self.prompt.purpose is message.purpose and self.prompt.value == message.text:
            self._follow(message.purpose, message.text)

    def on_prompt_entered(self, message: Prompt.Entered) -> None:
        """Take what was typed."""
        if message.purpose not in {Purpose.FILTER, Purpose.FIND}:
            return
        if self.prompt.purpose is not message.purpose:  # a second Enter behind the first
            return
        # In a burst of keys Enter overtakes what the letters before it have to tell.
        self._follow(message.purpose, message.text)
        if self._complaint is not None:
            return
        self._close_prompt()
        if message.purpose is Purpose.FILTER:
            self._choose(self._choice.kept())
        elif message.purpose is Purpose.FIND and self._pattern is not None:
            self.action_find_next(1)

    def on_prompt_left(self, message: Prompt.Left) -> None:
        """Go back to what was before."""
        self._close_prompt()
        if message.purpose is Purpose.FILTER and self._choice.draft is not None:
            self._choose(replace(self._choice, draft=None))
        elif message.purpose is Purpose.FIND:
            self._find(None)

    def _follow(self, purpose: Purpose, text: str) -> None:
        """Narrow the view by a text, or keep the complaint about it."""
        try:
            if purpose is Purpose.FILTER:
                draft = condition_of(text)
                self._complaint = None
                self._choose(replace(self._choice, draft=draft))
            elif purpose is Purpose.FIND:
                pattern = pattern_of(text)
                self._complaint = None
                self._find(pattern)
        except GprofError as error:
            self._complaint = error
        self._say_all()

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
