"""The flame graph: its cursor, its zoom and what is marked in it."""

from __future__ import annotations

from textual.pilot import Pilot

from gprof.errors import GprofError
from tests.screen_text import screen_text, settled
from tests.screens import press, with_app
from tests.sessions import stacked
from tui.app import GprofApp
from tui.glyphs import BLOCKS
from tui.screens.main import MainScreen


def path_of(main: MainScreen) -> list[str]:
    """The names from the root of the flame graph to its cursor."""
    return [name for name, _, _ in main.flame.cursor]


def zoom_of(main: MainScreen) -> list[str]:
    return [name for name, _, _ in main.flame.zoom]


def test_the_flame_graph_zooms_and_moves() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "f")
        flame = main.flame
        assert path_of(main) == []
        assert "100.00 %" in screen_text(app)
        await press(pilot, "down right")
        assert path_of(main) == ["[user]"]
        await press(pilot, "left down enter")
        assert flame.zoom == flame.cursor
        assert [key[0] for key in flame.zoom][-1] == "do_syscall_64"
        assert [level[0].width for level in flame.levels[:3]] == [100, 100, 100]
        assert "% of the zoom" in screen_text(app)
        await press(pilot, "escape")
        assert [name for name, _, _ in flame.zoom] == ["entry_SYSCALL_64_after_hwframe"]
        await press(pilot, "0")
        assert zoom_of(main) == []
        await press(pilot, "g")
        assert path_of(main) == []
        await press(pilot, "v up")  # the root is below now
        assert len(flame.cursor) == 1
        await press(pilot, "up up up up up up up up up up up up")
        deepest = len(flame.cursor)
        assert deepest > 4
        await press(pilot, "down")
        assert len(flame.cursor) == deepest - 1

    with_app(scenario, stacked())


def test_clicks_choose_and_zoom_frames() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "f")
        await pilot.click("#flame", offset=(10, 2))
        await settled(pilot)
        assert path_of(main)[-1] == "do_syscall_64"
        await pilot.click("#flame", offset=(10, 2))
        await settled(pilot)
        assert main.flame.zoom == main.flame.cursor
        await pilot.click("#flame", offset=(50, 0))  # out again
        await settled(pilot)
        assert zoom_of(main) == []

    with_app(scenario, stacked())


def test_the_same_function_elsewhere_is_marked() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "f ctrl+f")
        await pilot.press(*"/^__alloc_pages$/", "enter")
        await settled(pilot)
        assert main.flame.cursor[-1][0] == "__alloc_pages"
        text = screen_text(app)
        assert "in 2 places" in text
        assert "matched " in text
        await press(pilot, "escape")
        assert BLOCKS.same in screen_text(app)
        assert "matched" not in screen_text(app)

    with_app(scenario, stacked(), size=(140, 40))
