"""Where the frames of a flame graph lie: each level as cells, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from gprof.profile.tree import Node, NodeKey
from tui.shares import shared_out

#: The keys from the root down to a node; empty for the root.
Path: TypeAlias = tuple[NodeKey, ...]

#: Deeper stacks than that are damage.
DEEPEST = 400


@dataclass(frozen=True, slots=True)
class Frame:
    """A node and its place.

    Attributes:
        node: what it shows.
        path: where the node is in the tree.
        left: first cell.
        width: in cells, at least 1.
    """

    node: Node
    path: Path
    left: int
    width: int


def node_at(root: Node, path: Path) -> Node | None:
    """The node that a path leads to; None where this tree has none."""
    node = root
    for key in path:
        found = node.branch(key)
        if found is None:
            return None
        node = found
    return node


def nearest(root: Node, path: Path) -> Path:
    """The path, as far as the tree has it."""
    while path and node_at(root, path) is None:
        path = path[:-1]
    return path


def laid_out(root: Node, zoom: Path, width: int) -> tuple[tuple[Frame, ...], ...]:
    """The levels from the root on, each with its frames from left to right.

    Only frames that get a cell are there. Those above the zoomed node take the whole width.

    Args:
        root: the tree.
        zoom: path of the node that fills the width; as far as the tree has it.
        width: in cells.
    """
    if width < 1 or not root.total:
        return ()
    levels: list[tuple[Frame, ...]] = [(Frame(root, (), 0, width),)]
    node = root
    for depth, key in enumerate(nearest(root, zoom), 1):
        found = node.branch(key)
        assert found is not None
        node = found
        levels.append((Frame(node, zoom[:depth], 0, width),))
    while len(levels) <= DEEPEST:
        level = tuple(child for frame in levels[-1] for child in _children(frame))
        if not level:
            break
        levels.append(level)
    return tuple(levels)


def _children(frame: Frame) -> Sequence[Frame]:
    """The frames on top of one. Cells are shared out by weight; its own weight keeps some free."""
    node = frame.node
    children = []
    left_over = node.total
    for child in node.branches():
        # They come by falling weight: those behind this one would get no cell either.
        if child.total * frame.width * 2 < node.total:
            break
        children.append(child)
        left_over -= child.total
    cells = shared_out([*(child.total for child in children), left_over], frame.width)
    frames = []
    left = frame.left
    for child, width in zip(children, cells, strict=False):
        if width:
            frames.append(Frame(child, (*frame.path, child.key), left, width))
        left += width
    return frames
