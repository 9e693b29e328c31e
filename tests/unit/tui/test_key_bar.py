"""The last line, with the keys that work now."""

from __future__ import annotations

from textual.pilot import Pilot

from gprof.errors import GprofError
from tests.screen_text import screen_text, settled
from tests.screens import press, with_app
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.widgets.key_bar import KeyBar


def last_line(app: GprofApp) -> str:
    return screen_text(app).splitlines()[-1]


def test_it_follows_the_focus() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        top = last_line(app)
        assert top.startswith("Enter Annotate / Filter m Group")
        await press(pilot, "f")
        assert "v Turn" in last_line(app)
        await press(pilot, "p")
        assert "Enter Keep" in last_line(app)
        await press(pilot, "escape t slash")
        assert "/ Filter" not in last_line(app)
        await press(pilot, "escape")
        assert last_line(app) == top

    with_app(scenario, FrozenSession(frozen(stacks=True)))


def test_it_says_what_is_being_typed() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        for key, what in (
            ("e", "Write it to: .svg"),
            ("S", "Write a recording"),
            ("slash", "text"),
        ):
            await press(pilot, key)
            assert last_line(app).startswith(what)
            await press(pilot, "x")  # what has been typed hides no explanation
            assert last_line(app).startswith(what)
            await press(pilot, "escape")
            assert last_line(app).startswith("Enter Annotate")

    with_app(scenario)


def test_a_click_on_a_key_is_that_key() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        group = main.choice.group
        for name in ("Group", "m Group"):
            await pilot.click(KeyBar, offset=(last_line(app).index(name), 0))
            await settled(pilot)
            assert main.choice.group is not group
            group = main.choice.group
        await pilot.click(KeyBar, offset=(last_line(app).index(" Group"), 0))
        await settled(pilot)
        assert main.choice.group is not group
        await pilot.click(KeyBar, offset=(99, 0))  # nothing is there
        await settled(pilot)
        await pilot.click(KeyBar, offset=(last_line(app).index("Help"), 0))
        await settled(pilot)
        assert isinstance(app.screen, HelpScreen)

    with_app(scenario)
