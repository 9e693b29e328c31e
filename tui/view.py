"""The views of a session, one tab each."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """What fills the screen below the header."""

    TOP = "top"
    TREE = "tree"
    FLAME = "flame"
    EXITS = "exits"
    SYMBOLS = "symbols"

    @property
    def label(self) -> str:
        """As its tab is called."""
        return self.value.capitalize()

    @property
    def draws_tree(self) -> bool:
        """It shows the tree of calls, and not rows."""
        return self in {View.TREE, View.FLAME}
