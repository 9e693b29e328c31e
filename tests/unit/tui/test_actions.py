"""The table of actions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tui.actions import (
    APPLICATION,
    FINDING,
    FLAME,
    HELP,
    LISTING,
    LOOKING,
    PICKING,
    SORTING,
    TABLE,
    TAKING,
    TIME,
    TREE,
    VIEWS,
    ActionGroup,
    view_keys,
)
from tui.app import GprofApp
from tui.screens.annotate import AnnotateScreen
from tui.screens.main import MainScreen
from tui.view import View
from tui.widgets.flame_graph import FlameGraph
from tui.widgets.line_table import LineTable
from tui.widgets.timeline_bar import TimelineBar
from tui.widgets.tree_table import TreeTable

SCREEN = (APPLICATION, VIEWS, LOOKING, FINDING, SORTING, TIME, TAKING)


@pytest.mark.parametrize(
    "together",
    [(*SCREEN, TABLE), (TABLE, TREE), (FLAME,), (PICKING,), (APPLICATION, TABLE, LISTING)],
)
def test_no_key_has_two_meanings_on_one_screen(together: tuple[ActionGroup, ...]) -> None:
    keys = [key for group in together for action in group.actions for key in action.keys.split(",")]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("group", "owner"),
    [
        (APPLICATION, GprofApp),
        (TABLE, LineTable),
        (VIEWS, MainScreen),
        (LOOKING, MainScreen),
        (FINDING, MainScreen),
        (SORTING, MainScreen),
        (TIME, MainScreen),
        (TAKING, MainScreen),
        (PICKING, TimelineBar),
        (TREE, TreeTable),
        (FLAME, FlameGraph),
        (LISTING, AnnotateScreen),
    ],
)
def test_every_action_has_its_method(group: ActionGroup, owner: type[Any]) -> None:
    for action in group.actions:
        assert callable(getattr(owner, f"action_{action.call.partition('(')[0]}"))


def test_every_action_is_in_the_help_itself_or_beside_its_like() -> None:
    for group in HELP:
        assert group.actions[0].help
        for previous, action in itertools.pairwise(group.actions):
            name, before = (a.call.partition("(")[0] for a in (action, previous))
            assert action.help or name in {before, "last", "quit", "close", "beside"}
        assert all(bool(action.help) == bool(action.shown) for action in group.actions)


def test_every_view_has_a_key() -> None:
    keys = dict(view_keys(View))
    assert set(keys) == set(View)
    assert len(set(keys.values())) == len(keys)


def test_what_is_said_is_ascii_for_terminals_that_have_nothing_else() -> None:
    for group in HELP:
        for action in group.actions:
            assert f"{action.label}{action.help}{action.shown}".isascii()
