"""The instructions of a symbol on screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.profile.listing import Listing, annotate
from gprof.profile.profile import Profile
from gprof.profile.view import Row
from symbols.errors import SymbolsError
from tests.screen_text import assert_golden, screen_text, settled
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp, make_app
from tui.glyphs import BLOCKS
from tui.screens.annotate import AnnotateScreen

GOLDENS = Path(__file__).parent / "goldens"

Scenario = Callable[[GprofApp, AnnotateScreen, Pilot[GprofError]], Awaitable[None]]


def listing_of(row: Row, profile: Profile) -> Listing:
    at = profile.space(row.guest).symbol_at(row.address)
    assert at is not None
    return annotate(profile, at, profile.texts[row.guest], "x86_64")


def with_listing(
    scenario: Scenario, make: Callable[[Row, Profile], Listing] = listing_of
) -> GprofApp:
    """Run a scenario on the listing of the one function that has its code in the profile."""
    app = make_app(FrozenSession(frozen()), refresh_s=3600, annotate=make, glyphs=BLOCKS)

    async def run() -> None:
        async with app.run_test(size=(100, 20)) as pilot:
            await settled(pilot)
            await pilot.press("down", "down", "enter")
            await settled(pilot)
            screen = app.screen
            assert isinstance(screen, AnnotateScreen)
            await scenario(app, screen, pilot)

    asyncio.run(run())
    return app


def test_the_listing() -> None:
    async def scenario(app: GprofApp, _: AnnotateScreen, __: Pilot[GprofError]) -> None:
        assert_golden(screen_text(app), GOLDENS / "annotate-100x20.txt")

    with_listing(scenario)


def test_keys_go_through_the_hot_instructions_and_back() -> None:
    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        lines = screen.table.rows.items
        hot = sorted(
            (i for i, line in enumerate(lines) if line.samples), key=lambda i: -lines[i].samples
        )
        cold = len(lines) - 1
        assert len(hot) > 2
        assert cold not in hot
        for key, cursor in (
            (None, hot[0]), ("tab", hot[1]), ("tab", hot[2]), ("shift+tab", hot[1]),
            ("H", hot[0]), ("shift+tab", hot[-1]), ("tab", hot[0]), ("end", cold), ("tab", hot[0]),
        ):  # fmt: skip
            if key is not None:
                await pilot.press(key)
            assert screen.table.cursor == cursor, key
        await pilot.press("escape")
        await settled(pilot)
        assert len(app.screen_stack) == 1
        assert "clear_page_erms" in screen_text(app)

    with_listing(scenario)


def test_what_cannot_be_listed_is_explained() -> None:
    def refuse(_row: Row, _profile: Profile) -> Listing:
        raise SymbolsError("The code of [/] cannot be read.", "Give the\nfile \x1b[2J.")

    async def scenario(app: GprofApp, _: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        text = screen_text(app)
        assert " The code of [/] cannot be read." in text
        assert " Give the\n file \\x1b[2J." in text
        await pilot.press("H", "tab", "escape")
        assert len(app.screen_stack) == 1

    with_listing(scenario, refuse)
