"""The table of actions."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tui.actions import APPLICATION, HELP, LISTING, LOOKING, SORTING, TABLE, TIME, ActionGroup
from tui.app import GprofApp
from tui.screens.annotate import AnnotateScreen
from tui.screens.top import TopScreen
from tui.widgets.line_table import LineTable


@pytest.mark.parametrize(
    "together", [(APPLICATION, TABLE, LOOKING, SORTING, TIME), (APPLICATION, TABLE, LISTING)]
)
def test_no_key_has_two_meanings_on_one_screen(together: tuple[ActionGroup, ...]) -> None:
    keys = [key for group in together for action in group.actions for key in action.keys.split(",")]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("group", "owner"),
    [
        (APPLICATION, GprofApp),
        (TABLE, LineTable),
        (LOOKING, TopScreen),
        (SORTING, TopScreen),
        (TIME, TopScreen),
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
            assert action.help or name in {before, "last", "quit"}
        assert all(bool(action.help) == bool(action.shown) for action in group.actions)
