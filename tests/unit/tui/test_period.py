"""Time: a period picked by keys and mouse, windows, pause and back to now."""

from __future__ import annotations

from dataclasses import replace

from textual.events import MouseDown, MouseMove, MouseUp
from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.sampling.source import SampleBatch
from tests.screen_text import screen_text, settled
from tests.screens import golden, press, with_app
from tests.sessions import FrozenSession, frozen, grown
from tui.app import GprofApp
from tui.screens.main import MainScreen
from tui.span import Horizon


def shown(main: MainScreen) -> int:
    """Weight of what is shown."""
    assert main.picture is not None
    return main.picture.table.weight


def test_a_period_is_picked_by_keys_and_every_view_follows() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        everything = shown(main)
        await press(pilot, "p")
        assert focus(main) == "timeline"
        line = main.picture.timeline if main.picture else None
        assert line is not None
        assert picked_of(main) == (line.time(len(line) - 1), line.time(len(line)))
        await press(pilot, "left left space left left left")
        picked = picked_of(main)
        assert picked is not None
        assert picked[1] - picked[0] == 4 * line.bucket_ns
        some = shown(main)
        assert 0 < some < everything
        await press(pilot, "enter")
        assert focus(main) == "top"
        assert picked_of(main) == picked
        for key in "Tf":
            await press(pilot, key)
            assert main.picture is not None
            assert main.picture.tree is not None
            assert main.picture.tree.total == some
        await press(pilot, "s")
        assert sum(row.weight for row in main.table.rows.items) == some
        assert " s ×" in screen_text(app)  # noqa: RUF001 - the mark of the pill
        await press(pilot, "l")
        assert picked_of(main) is None
        assert shown(main) == everything

    with_app(scenario, FrozenSession(frozen(stacks=True)))


def test_a_period_on_screen() -> None:
    golden("period-100x30", keys="p left H H H")
    golden("period-80x24", keys="p left space left enter", size=(80, 24))


def test_the_whole_way_and_back() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        everything = shown(main)
        await press(pilot, "p g space G")
        assert shown(main) == everything
        await press(pilot, "space left")  # let go: one bucket again
        assert shown(main) < everything / 10
        await press(pilot, "escape")
        assert picked_of(main) is None
        assert shown(main) == everything
        await press(pilot, "p enter escape")  # Esc removes it like any filter
        assert picked_of(main) is None

    with_app(scenario)


def picked_of(main: MainScreen) -> tuple[int, int] | None:
    return main.choice.span.picked


def focus(main: MainScreen) -> str | None:
    return main.focused.id if main.focused is not None else None


def mouse(kind: type[MouseDown | MouseMove | MouseUp], main: MainScreen, x: int) -> None:
    """Let the mouse do something on the timeline, at a cell of it."""
    region = main.timeline.region
    main.timeline.post_message(
        kind(main.timeline, x, 0, 0, 0, 1, False, False, False, region.x + x, region.y)
    )


def test_a_period_is_picked_by_the_mouse() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        everything = shown(main)
        for kind, x in ((MouseDown, 16), (MouseMove, 20), (MouseMove, 26), (MouseUp, 26)):
            mouse(kind, main, x)
            await pilot.pause()
        await settled(pilot)
        picked = picked_of(main)
        assert picked is not None
        assert main.picture is not None
        assert picked[1] - picked[0] == 11 * main.picture.timeline.bucket_ns
        assert 0 < shown(main) < everything
        assert focus(main) == "top"
        mouse(MouseMove, main, 40)  # the button is up
        await settled(pilot)
        assert picked_of(main) == picked

    with_app(scenario)


def test_nothing_to_pick_from() -> None:
    empty = replace(frozen(), samples=SampleBatch.empty())

    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "p left enter")
        assert picked_of(main) is None

    with_app(scenario, FrozenSession(empty))


def test_windows_and_half_lives() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        everything = shown(main)
        await press(pilot, "left_parenthesis left_parenthesis")
        assert "Window and half-life are 2 s" in screen_text(app)
        await press(pilot, "w")
        assert main.choice.span.horizon is Horizon.WINDOW
        assert "last 2.0 s" in screen_text(app)
        assert 0.1 * everything < shown(main) < 0.3 * everything
        await press(pilot, "w")
        assert "half-life 2.0 s" in screen_text(app)
        assert main.picture is not None
        scale = main.picture.scale
        assert scale > 1
        # Under decay a constant rate weighs as much as half-life / ln 2 of it.
        assert 0.15 * everything < shown(main) / scale < 0.4 * everything
        rows = main.table.rows.items
        assert rows == tuple(sorted(rows, key=lambda row: -row.self_weight))
        await press(pilot, "w")
        assert shown(main) == everything

    with_app(scenario)


def test_back_to_now() -> None:
    session = FrozenSession(frozen(), ended=False)

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "p enter space")
        assert main.picture is not None
        assert " PAUSED\n" in screen_text(app)
        first = int(session.profile.samples.pc[0])
        last = int(session.profile.samples.time.max())
        session.profile = grown(session.profile, SampleBatch.of([first] * 500, time=last + 1))
        await press(pilot, "l")
        assert picked_of(main) is None
        assert main.picture.table.samples > 1700 + 400
        assert " LIVE\n" in screen_text(app)

    with_app(scenario, session)
