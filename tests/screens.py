"""Running the screen over a session that stands still, key by key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from gprof.errors import GprofError
from tests.screen_text import assert_golden, screen_text, settled
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp, make_app
from tui.glyphs import BLOCKS, Glyphs
from tui.screens.main import MainScreen
from tui.view import View

GOLDENS = Path(__file__).parent / "unit" / "tui" / "goldens"

Scenario = Callable[[GprofApp, MainScreen, Pilot[GprofError]], Awaitable[None]]


def with_app(
    scenario: Scenario,
    session: FrozenSession | None = None,
    *,
    size: tuple[int, int] = (100, 30),
    glyphs: Glyphs = BLOCKS,
    **given: Any,
) -> GprofApp:
    """Run a scenario on the app over a session; returns the app as it was left.

    Args:
        scenario: gets the app, its main screen, and a pilot.
        session: what to look at; the synthetic profile where None.
        size: of the terminal.
        glyphs: the marks to draw with.
        given: more for `make_app`.
    """
    # No timer may go off while a test looks.
    given.setdefault("refresh_s", 3600)
    app = make_app(session or FrozenSession(frozen()), budget_percent=1.0, glyphs=glyphs, **given)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, MainScreen)
            await scenario(app, screen, pilot)

    asyncio.run(run())
    return app


def under_cursor(main: MainScreen) -> Any:
    """The row under the cursor of the view's table; there must be one."""
    chosen = main.table.chosen
    assert chosen is not None
    return chosen


def labels(main: MainScreen) -> list[str]:
    """What the rows of the view's table are called, in their order."""
    return [row.label for row in main.table.rows.items]


def view_of(main: MainScreen) -> View:
    """The view on screen, asked for anew: a type checker takes it for what it was before."""
    return main.choice.view


async def press(pilot: Pilot[Any], keys: str) -> None:
    """Press keys, separated by spaces, and wait until the screen stands still after each."""
    for key in keys.split():
        await pilot.press(key)
        await settled(pilot)


def golden(
    name: str,
    session: FrozenSession | None = None,
    *,
    keys: str = "",
    size: tuple[int, int] = (100, 30),
    glyphs: Glyphs = BLOCKS,
    **given: Any,
) -> str:
    """Press keys, compare what is on screen with a golden file, and return it."""
    seen = []

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, keys)
        seen.append(screen_text(app))

    with_app(scenario, session, size=size, glyphs=glyphs, **given)
    assert_golden(seen[0], GOLDENS / f"{name}.txt")
    return seen[0]
