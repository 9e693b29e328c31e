"""The rows of the tree of calls: what is open of it, line by line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from gprof.profile.tree import Node, NodeKind
from tui.flame_layout import DEEPEST, Path, key_of
from tui.glyphs import Glyphs
from tui.toned import Tone
from tui.widgets.column import Cell, Column, Rows, Share

#: More rows than that are not opened at once.
MOST_ROWS = 2_000
#: Of the children of one node the heaviest are shown, and one row for the rest.
MOST_CHILDREN = 200
#: A child with less of its parent's weight than this ends the hot path.
_HOT = 0.3
#: Cells of indentation beyond which deeper rows move no further, so that names stay visible.
_DEEPEST_INDENT = 60


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One line.

    Attributes:
        node: what it shows.
        path: where the node is in the tree.
        open: its children follow; None where it has none.
    """

    node: Node
    path: Path
    open: bool | None


def tree_rows(root: Node, opened: Collection[Path]) -> Rows[TreeRow]:
    """Every node whose ancestors are all open, in the order of the tree; without the root."""
    rows: list[TreeRow] = []
    waiting: list[tuple[Path, Node]] = [((), root)]
    while waiting and len(rows) < MOST_ROWS:
        path, node = waiting.pop()
        children = node.children()
        is_open = not path or path in opened
        if path:
            rows.append(TreeRow(node, path, is_open if children else None))
        if is_open and len(path) < DEEPEST:
            if len(children) > MOST_CHILDREN:
                children = [*children[:MOST_CHILDREN], _rest(children[MOST_CHILDREN:])]
            waiting += [((*path, key_of(child)), child) for child in reversed(children)]
    return Rows.of(rows, lambda row: row.path)


def _rest(children: Sequence[Node]) -> Node:
    """What stands for the children that are not shown."""
    rest = Node(f"({len(children):,} more)", "", NodeKind.ROOT)
    rest.total = sum(child.total for child in children)
    rest.own = sum(child.own for child in children)
    return rest


def hot_path(node: Node, path: Path) -> Iterator[Path]:
    """What to open below a node to see where most of its weight goes."""
    while len(path) < DEEPEST:
        yield path
        heaviest = next(iter(node.children()), None)
        if heaviest is None or heaviest.total < _HOT * node.total:
            return
        node, path = heaviest, (*path, key_of(heaviest))


def all_below(node: Node, path: Path) -> Iterator[Path]:
    """The paths of a node and everything below it, nearest first, up to `MOST_ROWS`."""
    level = [(path, node)]
    found = 0
    while level:
        below = []
        for here, parent in level:
            yield here
            found += 1
            if found >= MOST_ROWS:
                return
            if len(here) < DEEPEST:
                below += [((*here, key_of(child)), child) for child in parent.branches()]
        level = below


def matched_weight(root: Node, pattern: re.Pattern[str]) -> int:
    """Weight of the samples with a match anywhere on their stack, each counted once."""
    weight = 0
    waiting: list[Node] = list(root.branches())
    while waiting:
        node = waiting.pop()
        if pattern.search(node.name):
            weight += node.total
        else:
            waiting += node.branches()
    return weight


def tree_columns(
    root: Node, glyphs: Glyphs, *, inverted: bool, scale: int = 1
) -> tuple[Column[TreeRow], ...]:
    """The columns of a tree.

    Args:
        root: its total is the base of the percentages.
        glyphs: the marks to draw with.
        inverted: of the inverted tree, in which a node's own weight is that of stacks that begin
            there: it says nothing that is looked for.
        scale: what a sample of weight one counts.
    """
    whole = max(root.total, 1)

    def share(row: TreeRow) -> Share:
        part = row.node.total / whole
        return Share(100 * part, part)

    def name(row: TreeRow) -> Cell:
        mark = {None: " ", True: glyphs.opened, False: glyphs.closed}[row.open]
        indent = " " * min(2 * (len(row.path) - 1), _DEEPEST_INDENT)
        return f"{indent}{mark} {row.node.name}"

    columns = [
        Column("total", "Total %", 19, share, stretch=6),
        Column("samples", "Samples", 9, lambda row: round(row.node.total / scale), right=True,
               rank=2),
        Column("self", "Self %", 7, lambda row: f"{100 * row.node.own / whole:.2f}", right=True),
        Column("symbol", "Function", 0, name),
        Column("module", "Module", 14, lambda row: (row.node.module, Tone.DIM), rank=1),
    ]  # fmt: skip
    return tuple(column for column in columns if not (inverted and column.key == "self"))
