"""Typing a filter: what is shown while it is typed, kept, wrong, or left."""

from __future__ import annotations

from textual.events import Key
from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.profile.view import Group
from tests.screen_text import eventually, screen_text, settled
from tests.screens import labels, with_app
from tui.app import GprofApp
from tui.glyphs import BLOCKS
from tui.screens.main import MainScreen


def typed(top: MainScreen) -> str:
    return top.choice.draft.text if top.choice.draft else ""


def test_a_filter_follows_what_is_typed_and_is_shown() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"ext4")
        await settled(pilot)
        assert labels(top)
        assert all(row.module == "ext4" for row in top.table.rows.items)
        await pilot.press("enter")
        await settled(pilot)
        assert f" filter ext4 {BLOCKS.remove} " in screen_text(app)
        assert top.focused is top.table
        await pilot.press("escape")
        await settled(pilot)
        assert "filter ext4" not in screen_text(app)
        assert {row.module for row in top.table.rows.items} > {"ext4"}

    with_app(scenario)


def test_a_filter_that_comes_in_one_burst_of_keys() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        for key in ("slash", *"ext4"):
            app.post_message(Key(key, "/" if key == "slash" else key))
        # Each key travels to the table and back before it finds the line.
        await eventually(pilot, lambda: typed(top) == "ext4", "ext4")
        assert top.choice.group is Group.SYMBOL

    with_app(scenario)


def test_enter_keeps_all_of_a_filter_that_comes_in_one_burst() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash")
        for key in "module:ext4":
            top.prompt.post_message(Key("colon" if key == ":" else key, key))
        top.prompt.post_message(Key("enter", None))
        await settled(pilot)
        assert [condition.text for condition in top.choice.conditions] == ["module:ext4"]
        assert top.choice.draft is None

    with_app(scenario)


def test_a_filter_may_be_a_regular_expression() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"/s_r.a/", "enter")
        await settled(pilot)
        assert sorted(labels(top)) == ["ksys_read", "vfs_read"]

    with_app(scenario)


def test_a_wrong_expression_is_explained_and_changes_nothing() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"/(")
        await settled(pilot)
        before = labels(top)
        text = screen_text(app)
        assert "/(/ is no regular expression: missing )" in text
        await pilot.press("enter")
        await settled(pilot)
        assert labels(top) == before
        await pilot.press("escape")
        await settled(pilot)
        assert "regular expression" not in screen_text(app)

    with_app(scenario)


def test_escape_while_typing_goes_back_to_the_filter_before() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"vfs", "enter", "slash", "q", "escape")
        await settled(pilot)
        assert [condition.text for condition in top.choice.conditions] == ["vfs"]
        assert top.choice.draft is None

    with_app(scenario)
