"""The command palette: actions by name, and the symbols that were sampled."""

from __future__ import annotations

import asyncio

from textual.command import CommandList, Hit
from textual.pilot import Pilot

from gprof.errors import GprofError
from tests.profiles import HOSTILE, hostile
from tests.screen_text import eventually, screen_text, settled
from tests.screens import under_cursor, with_app
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp
from tui.palette import ActionProvider, SymbolProvider
from tui.screens.main import MainScreen
from tui.view import View


async def choose(app: GprofApp, pilot: Pilot[GprofError], text: str, first: str) -> None:
    """Open the palette, type, and take what is found first, which begins in a known way."""
    await pilot.press("ctrl+p")
    await pilot.press(*text)

    def found() -> bool:
        lists = app.screen.query(CommandList)
        return bool(lists) and any(
            str(option.prompt).startswith(first) for option in lists.first().options[:1]
        )

    await eventually(pilot, found, first)
    await pilot.press("down", "enter")
    await eventually(pilot, lambda: len(app.screen_stack) == 1, "the end of the palette")
    await settled(pilot)


def test_an_action_is_found_by_its_name() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await choose(app, pilot, "flame graph", "Flame: The same")
        assert main.choice.view is View.FLAME

    with_app(scenario, FrozenSession(frozen(stacks=True)))


def test_a_symbol_is_found_by_its_name() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("s")
        await settled(pilot)
        await choose(app, pilot, "napi_gro", "napi_gro_receive")
        assert main.choice.view is View.TOP
        assert under_cursor(main).symbol == "napi_gro_receive"

    with_app(scenario, FrozenSession(frozen(stacks=True)))


def test_symbols_that_are_hidden_are_told() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        main.show_symbol("default_idle")
        await settled(pilot)
        assert "default_idle has no samples among those shown." in screen_text(app)

    with_app(scenario)


async def hits(provider: ActionProvider | SymbolProvider, query: str) -> list[Hit]:
    return [hit async for hit in provider.search(query) if isinstance(hit, Hit)]


def test_hostile_names_are_offered_as_text() -> None:
    async def scenario(app: GprofApp, main: MainScreen, _: Pilot[GprofError]) -> None:
        provider = SymbolProvider(main)
        for name in HOSTILE:
            for hit in await hits(provider, name[:5]):
                assert str(hit.match_display).isprintable()
        assert await hits(provider, "script")

    with_app(scenario, FrozenSession(hostile()))


def test_every_action_can_be_run_somewhere() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        provider = ActionProvider(main)
        found = [hit async for hit in provider.discover()]
        assert len(found) > 30
        for hit in found:
            if any(word in str(hit.text) for word in ("Quit", "Palette", "Help", "Export", "Save")):
                continue
            command = hit.command()
            if asyncio.iscoroutine(command):
                await command
            await pilot.pause(0)
        await settled(pilot)
        assert len(app.screen_stack) == 1

    with_app(scenario, FrozenSession(frozen(stacks=True)))
