"""The first screen while a session goes on, is held, is paused, fails or ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from gprof.errors import GprofError, TargetGone
from gprof.profile.profile import Profile
from gprof.sampling.source import Mode, SampleBatch
from tests.screen_text import screen_text, settled, shows
from tests.screens import with_app
from tests.sessions import FrozenSession, frozen, grown
from tui.app import GprofApp, make_app
from tui.glyphs import BLOCKS
from tui.picture import State
from tui.screens.main import MainScreen


def more(profile: Profile, count: int) -> Profile:
    first = int(profile.samples.pc[profile.samples.mode == Mode.KERNEL][0])
    return grown(profile, SampleBatch.of([first] * count))


@pytest.mark.parametrize("key", ["space", "z"])
def test_pause_holds_the_table_and_lets_the_header_go_on(key: str) -> None:
    session = FrozenSession(frozen(), ended=False)

    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert " LIVE\n" in screen_text(app)
        before = top.table.rows.items
        await pilot.press(key)
        session.profile = more(session.profile, 500)
        await pilot.press("I", "I")  # what is chosen while paused is of the paused samples
        await settled(pilot)
        assert " PAUSED\n" in screen_text(app)
        assert "2,500 samples" in screen_text(app)
        assert top.table.rows.items == before
        await pilot.press(key)
        await settled(pilot)
        assert " LIVE\n" in screen_text(app)
        assert top.table.rows.items != before

    with_app(scenario, session)


def test_reset_forgets_the_samples_and_the_pause() -> None:
    session = FrozenSession(frozen(), ended=False)

    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("space", "r")
        await settled(pilot)
        assert not top.table.rows.items
        assert "No samples yet." in screen_text(app)
        assert " LIVE\n" in screen_text(app)

    with_app(scenario, session)


def test_plus_and_minus_change_how_often_is_looked() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("plus", "plus")
        assert top.refresh_s == 2
        await settled(pilot)
        assert "Refreshed every 2 s." in screen_text(app)
        await pilot.press("minus")
        assert top.refresh_s == 5
        for _ in range(9):
            top.action_interval(1)
        assert top.refresh_s == 10
        for _ in range(9):
            top.action_interval(-1)
        assert top.refresh_s == 0.25

    with_app(scenario)


def test_the_screen_looks_again_by_itself() -> None:
    session = FrozenSession(frozen(), ended=False)
    app = make_app(session, refresh_s=0.01, glyphs=BLOCKS)

    async def run() -> None:
        async with app.run_test() as pilot:
            await settled(pilot)
            session.profile = more(session.profile, 500)
            await shows(app, pilot, "2,500 samples")
            session.ended = True
            await shows(app, pilot, " ENDED\n")

    asyncio.run(run())


def test_held_off_sampling_is_told() -> None:
    session = FrozenSession(frozen(), ended=False)

    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        facts = replace(session.profile.facts, held_ns=3_000_000_000)
        session.profile = replace(session.profile, facts=facts)
        await pilot.press("I")
        await settled(pilot)
        assert top.picture is not None
        assert top.picture.state is State.HELD
        assert " HELD\n" in screen_text(app)
        assert "held 3.0 s" in screen_text(app)

    with_app(scenario, session)


def test_a_failed_session_stays_on_screen_and_is_handed_on() -> None:
    failure = TargetGone("localhost:1234 closed the connection.", "Start the guest again.")
    session = FrozenSession(frozen(), failure=failure)

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        text = screen_text(app)
        assert "localhost:1234 closed the connection." in text
        assert "Start the guest again." in text
        assert " ENDED\n" in text
        await pilot.press("q")

    assert with_app(scenario, session).return_value is failure


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quitting(key: str) -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash")
        await pilot.press("ctrl+c" if key == "ctrl+c" else "escape", key)

    app = with_app(scenario)
    assert app.return_code == 0
    assert app.return_value is None
