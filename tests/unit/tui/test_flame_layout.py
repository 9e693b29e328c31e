"""Where frames lie, and which rows of a tree are open."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.tree import Direction, Node, NodeKind, call_tree, tree_of
from tests.profiles import synthetic
from tui.flame_layout import laid_out, nearest, node_at
from tui.glyphs import BLOCKS
from tui.shares import shared_out
from tui.tree_rows import (
    MOST_CHILDREN,
    MOST_ROWS,
    all_below,
    hot_path,
    matched_weight,
    tree_columns,
    tree_rows,
)
from tui.widgets.flame_graph import same_function


def grown(stacks: list[tuple[list[str], int]]) -> Node:
    """A tree of stacks, root first, with their weights."""
    return tree_of(
        ([(name, "[kernel]", NodeKind.KERNEL) for name in names], weight)
        for names, weight in stacks
    )


STACKS = st.lists(
    st.tuples(st.lists(st.sampled_from("abcd"), max_size=6), st.integers(1, 10**12)), max_size=30
)


@given(STACKS, st.integers(1, 300), st.lists(st.sampled_from("abcd"), max_size=4))
def test_frames_lie_within_those_below_them(
    stacks: list[tuple[list[str], int]], width: int, zoom: list[str]
) -> None:
    root = grown(stacks)
    path = nearest(root, tuple((name, "[kernel]", NodeKind.KERNEL) for name in zoom))
    levels = laid_out(root, path, width)
    if not stacks:
        assert levels == ()
        return
    assert [len(level) for level in levels[: len(path) + 1]] == [1] * (len(path) + 1)
    for depth, level in enumerate(levels):
        at = 0
        for frame in level:
            assert frame.width >= 1
            assert frame.left >= at  # none over another
            at = frame.left + frame.width
            assert node_at(root, frame.path) is frame.node
            if depth:
                (below,) = [f for f in levels[depth - 1] if f.path == frame.path[:-1]]
                assert below.left <= frame.left
                assert frame.left + frame.width <= below.left + below.width
        assert at <= width


@given(st.lists(st.integers(0, 10**15), max_size=20), st.integers(0, 500))
def test_cells_are_shared_out_without_rest(parts: list[int], cells: int) -> None:
    shares = shared_out(parts, cells)
    assert sum(shares) == (cells if sum(parts) else 0)
    for part, share in zip(parts, shares, strict=True):
        assert abs(share - part * cells / max(sum(parts), 1)) < 1


def test_a_frame_is_as_wide_as_its_share() -> None:
    root = grown([(["a"], 50), (["b"], 30), (["b", "c"], 10), ([], 10)])
    _, level, above = laid_out(root, (), 100)
    assert [(f.node.name, f.left, f.width) for f in level] == [("a", 0, 50), ("b", 50, 40)]
    assert [(f.node.name, f.left, f.width) for f in above] == [("c", 50, 10)]


def test_the_zoomed_frame_fills_the_width() -> None:
    root = grown([(["a"], 50), (["b"], 30), (["b", "c"], 10)])
    b = root.children()[1].key
    levels = laid_out(root, (b,), 40)
    assert [(f.node.name, f.width) for f in levels[1]] == [("b", 40)]
    assert [(f.node.name, f.width) for f in levels[2]] == [("c", 10)]
    assert nearest(root, (b, ("gone", "", NodeKind.USER))) == (b,)


def test_endless_stacks_end() -> None:
    root = grown([(["a"] * 5000, 1)])
    assert len(laid_out(root, (), 10)) < 500
    everything = set(all_below(root, ()))
    assert len(tree_rows(root, everything)) < 500


def test_a_function_that_calls_itself_counts_once() -> None:
    root = grown([(["a", "b", "a"], 5), (["b"], 3), (["c", "a"], 2)])
    assert same_function(root, ("a", "[kernel]", NodeKind.KERNEL)) == (3, 7)
    assert matched_weight(root, re.compile("^[ac]$")) == 7
    assert matched_weight(root, re.compile(".")) == 10


def test_only_open_nodes_show_their_children() -> None:
    root = grown([(["a", "b", "c"], 5), (["d"], 3)])
    a = (root.children()[0].key,)
    closed = tree_rows(root, set())
    assert [row.node.name for row in closed.items] == ["a", "d"]
    assert [row.open for row in closed.items] == [False, None]
    opened = tree_rows(root, {a})
    assert [row.node.name for row in opened.items] == ["a", "b", "d"]
    everything = tree_rows(root, set(hot_path(root, ())))
    assert [row.node.name for row in everything.items] == ["a", "b", "c", "d"]


def test_a_wide_tree_is_opened_up_to_a_bound() -> None:
    root = grown([([f"f{n}", f"g{n}"], n + 1) for n in range(MOST_ROWS)])
    closed = tree_rows(root, set())
    assert len(closed) == MOST_CHILDREN + 1
    assert closed.items[0].node.name == f"f{MOST_ROWS - 1}"
    assert closed.items[-1].node.name == f"({MOST_ROWS - MOST_CHILDREN:,} more)"
    assert sum(row.node.total for row in closed.items) == root.total
    assert len(list(all_below(root, ()))) == MOST_ROWS
    deep = grown([([f"f{n % 150}", f"g{n}"], 1) for n in range(2 * MOST_ROWS)])
    assert len(tree_rows(deep, set(all_below(deep, ())))) == MOST_ROWS


def test_the_rows_of_a_tree_add_up() -> None:
    profile = synthetic(600, stacks=True)
    root = call_tree(profile)
    columns = {c.key: c for c in tree_columns(root, BLOCKS, inverted=False)}
    rows = tree_rows(root, set())
    assert sum(row.node.total for row in rows.items) == root.total
    assert "self" in columns
    turned = call_tree(profile, direction=Direction.UP)
    assert turned.total == root.total
    assert "self" not in {c.key for c in tree_columns(turned, BLOCKS, inverted=True)}
