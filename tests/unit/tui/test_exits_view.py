"""The view of VM exits, where there are some."""

from __future__ import annotations

from dataclasses import replace

from textual.pilot import Pilot

from gprof.errors import FormatError, GprofError
from gprof.sampling.source import SampleBatch
from tests.screen_text import screen_text
from tests.screens import golden, press, view_of, with_app
from tests.sessions import FrozenSession, SomeExits, frozen, stacked
from tui.app import GprofApp
from tui.screens.main import MainScreen
from tui.view import View


def test_exits() -> None:
    golden("exits-100x30", stacked(), keys="x", exits=SomeExits())
    text = golden("exits-symbols-100x30", stacked(), keys="x m", exits=SomeExits())
    assert "native_write_msr" in text
    assert "unknown" in text
    golden("exits-vcpus-80x24", stacked(), keys="x m m", size=(80, 24), exits=SomeExits())


def test_exits_that_cannot_be_counted_say_why() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "x")
        assert "it is cut" in screen_text(app)
        assert "record anew" in screen_text(app)
        assert view_of(main) is View.EXITS

    with_app(scenario, exits=SomeExits(FormatError("it is cut", "record anew")))


def test_a_source_without_exits_has_no_tab_for_them() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert "Exits" not in screen_text(app)
        await press(pilot, "x")
        assert view_of(main) is View.TOP
        assert "no VM exits" in screen_text(app)

    with_app(scenario)


def test_exits_come_first_where_there_is_nothing_else() -> None:
    empty = replace(frozen(), samples=SampleBatch.empty())

    async def scenario(app: GprofApp, main: MainScreen, _: Pilot[GprofError]) -> None:
        assert view_of(main) is View.EXITS
        assert "msr" in screen_text(app)

    with_app(scenario, FrozenSession(empty), exits=SomeExits())
