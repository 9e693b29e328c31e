"""The tree of calls as a table whose rows open and close."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType

from gprof.profile.tree import Node
from tui.actions import TREE, bindings
from tui.flame_layout import Path, node_at
from tui.glyphs import BLOCKS, Glyphs
from tui.tree_rows import TreeRow, all_below, hot_path, tree_columns, tree_rows
from tui.widgets.line_table import LineTable


class TreeTable(LineTable[TreeRow]):
    """Keeps which nodes are open, by their paths, from one tree to the next.

    Args:
        glyphs: the marks to draw with.
        id: of the widget.
    """

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(TREE)]

    def __init__(self, glyphs: Glyphs = BLOCKS, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(glyphs, id=id)
        self._marks = glyphs
        self._tree: Node | None = None
        self._inverted = False
        self._scale = 1
        self._opened: set[Path] = set()
        self._fresh = True

    def show_tree(self, tree: Node, *, inverted: bool, scale: int) -> None:
        """Show another tree; at first, and when it was turned round, with its hot path open."""
        if self._fresh or inverted != self._inverted:
            self._opened = set() if inverted else set(hot_path(tree, ()))
            self._fresh = not tree.total
        self._tree, self._inverted, self._scale = tree, inverted, scale
        self._again()

    def action_open(self) -> None:
        """Show what is below; where it is shown, go there."""
        row = self.chosen
        if row is None or row.open is None:
            return
        if row.open:
            self.move_to(self.cursor + 1)
        else:
            self._opened.add(row.path)
            self._again()

    def action_close(self) -> None:
        """Hide what is below; where nothing is shown, go to what is above."""
        row = self.chosen
        if row is None:
            return
        if row.open:
            self._opened.discard(row.path)
            self._again()
        elif row.path[:-1] in self.rows.positions:
            self.move_to(self.rows.positions[row.path[:-1]])

    def action_hot_path(self) -> None:
        """Open what is below along its heaviest branch, and go to its end."""
        row = self.chosen
        if row is None:
            return
        way = list(hot_path(row.node, row.path))
        self._opened.update(way)
        self._again()
        self.move_to(self.rows.positions.get(way[-1], self.cursor))

    def action_open_all(self) -> None:
        """Open everything below the cursor, up to a bound."""
        if (row := self.chosen) is not None:
            self._opened.update(all_below(row.node, row.path))
            self._again()

    def action_close_all(self) -> None:
        """Close everything."""
        self._opened.clear()
        row = self.chosen
        self._again()
        if row is not None:
            self.move_to(self.rows.positions.get(row.path[:1], 0))

    def on_click(self, event: events.Click) -> None:
        """A click on the row under the cursor opens or closes it."""
        before = self.cursor
        super().on_click(event)
        if event.y > 0 and self.cursor == before and (row := self.chosen) is not None:
            if row.open:
                self.action_close()
            else:
                self.action_open()

    def _again(self) -> None:
        if self._tree is None:
            return
        self._opened = {path for path in self._opened if node_at(self._tree, path) is not None}
        columns = tree_columns(self._tree, self._marks, inverted=self._inverted, scale=self._scale)
        self.show(columns, tree_rows(self._tree, self._opened))
