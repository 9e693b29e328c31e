"""The rows of the tree of calls: what is open of it, line by line."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from gprof.profile.tree import Node, NodeKind
from tui.flame_layout import DEEPEST, Path
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
        is_open = not path or path in opened
        if path:
            rows.append(TreeRow(node, path, is_open if node.width else None))
        if is_open and len(path) < DEEPEST:
            children = _shown(node)
            waiting += [((*path, child.key), child) for child in reversed(children)]
    return Rows.of(rows, lambda row: row.path)


def _shown(node: Node) -> list[Node]:
    """The heaviest children, and what stands for the others."""
    shown = list(islice(node.branches(), MOST_CHILDREN))
    more = node.width - len(shown)
    if more:
        own = node.own_of_branches - sum(child.own for child in shown)
        total = node.total - node.own - sum(child.total for child in shown)
        shown.append(Node((f"({more:,} more)", "", NodeKind.ROOT), own, total))
    return shown


def hot_path(node: Node, path: Path) -> Iterator[Path]:
    """What to open below a node to see where most of its weight goes."""
    while len(path) < DEEPEST:
        yield path
        heaviest = next(node.branches(), None)
        if heaviest is None or heaviest.total < _HOT * node.total:
            return
        node, path = heaviest, (*path, heaviest.key)


def all_below(node: Node, path: Path) -> Iterator[Path]:
    """The paths of a node and everything below it, nearest first, up to `MOST_ROWS`."""
    waiting = deque([(path, node)])
    found = 0
    while waiting and found < MOST_ROWS:
        here, parent = waiting.popleft()
        yield here
        found += 1
        if len(here) < DEEPEST:
            below = islice(parent.branches(), MOST_ROWS - found - len(waiting))
            waiting += [((*here, child.key), child) for child in below]


def matched_weight(root: Node, pattern: re.Pattern[str]) -> int:
    """Weight of the samples with a match anywhere on their stack, each counted once."""
    return root.matching(lambda key: pattern.search(key[0]) is not None)[1]


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
