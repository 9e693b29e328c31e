"""The first screen, key by key, on sessions that stand still."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.profile.view import Group, Row
from gprof.sampling.source import Mode, SampleBatch
from tests.screen_text import screen_text, settled
from tests.screens import golden, labels, with_app
from tests.sessions import FrozenSession, frozen, of_two_guests
from tui.app import GprofApp
from tui.glyphs import ASCII, BLOCKS
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen


def sorted_by(top: MainScreen) -> tuple[str, bool]:
    assert top.picture is not None
    assert top.picture.sheet is not None
    return top.picture.sheet.sort


def shown_modes(top: MainScreen) -> set[Mode]:
    return {row.mode for row in top.table.rows.items}


def test_the_screen() -> None:
    golden("top-100x30")


def test_stacks_give_totals() -> None:
    golden("top-stacks-120x30", FrozenSession(frozen(stacks=True)), size=(120, 30))


def test_everything_essential_fits_80_columns_and_24_lines() -> None:
    text = golden("top-80x24", size=(80, 24))
    for fact in (
        "web1", "6.1.0-56-cloud-amd64", "x86_64", "gdbstub localhost:1234", "ENDED", "of 99 Hz",
        "halted", "of 1 %", "late", "errors", "lost", "unresolved", "2,000 samples", "hidden",
        "q Quit", "? Help",
    ):  # fmt: skip
        assert fact in text


def test_a_terminal_without_block_glyphs_gets_ascii_alone() -> None:
    text = golden("top-ascii-80x24", size=(80, 24), glyphs=ASCII)
    assert text.isascii()


def test_many_vcpus_share_bars() -> None:
    golden("top-64-vcpus-80x24", FrozenSession(frozen(vcpus=64)), size=(80, 24))


def test_grouping_by_module() -> None:
    golden("top-modules-80x24", keys="m", size=(80, 24))


def test_no_samples_yet() -> None:
    empty = replace(frozen(), samples=SampleBatch.empty())
    assert "No samples yet." in golden("top-empty-80x24", FrozenSession(empty), size=(80, 24))


def test_m_goes_through_the_groups() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        seen = []
        for _ in range(5):
            await pilot.press("m")
            await settled(pilot)
            seen.append(top.choice.group)
            assert sum(row.self_weight for row in top.table.rows.items) > 0
        assert seen == [Group.MODULE, Group.MODE, Group.VCPU, Group.SYMBOL, Group.MODULE]

    with_app(scenario)


def test_idle_is_hidden_with_its_share_told_until_it_is_asked_for() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert Mode.IDLE not in shown_modes(top)
        idle = top.picture.share(Mode.IDLE) if top.picture else 0
        assert f"idle {idle:.0f} % hidden" in screen_text(app)
        await pilot.press("I")
        await settled(pilot)
        assert Mode.IDLE in shown_modes(top)
        assert "hidden" not in screen_text(app)
        shares = [row.self_weight for row in top.table.rows.items]
        assert sum(shares) == 2000

    with_app(scenario)


def test_user_and_kernel_can_be_hidden() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        for key, mode in (("u", Mode.USER), ("K", Mode.KERNEL)):
            assert mode in shown_modes(top)
            await pilot.press(key)
            await settled(pilot)
            assert mode not in shown_modes(top)
            assert top.picture is not None
            assert (
                f" {mode.label} {top.picture.share(mode):.0f} % hidden {BLOCKS.remove} "
                in screen_text(app)
            )
            await pilot.press(key)
            await settled(pilot)
            assert mode in shown_modes(top)

    with_app(scenario)


def test_nothing_left_is_explained() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("u", "K")
        await settled(pilot)
        assert "Nothing is left of the samples" in screen_text(app)

    with_app(scenario)


def test_brackets_go_through_the_vcpus() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        seen = []
        for key in ("]", "]", "]", "[", "["):
            await pilot.press(key)
            await settled(pilot)
            seen.append(top.choice.vcpu)
        assert seen == [0, 1, None, 1, 0]
        assert "vcpu 0 only" in screen_text(app)
        assert top.picture is not None
        assert sum(top.picture.modes.values()) == 1000

    with_app(scenario)


def test_digits_sort_by_a_column_and_turn_it_around() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        names = [column.key for column in top.table.columns]
        by_symbol = str(names.index("symbol") + 1)
        await pilot.press(by_symbol)
        await settled(pilot)
        assert labels(top) == sorted(labels(top))
        await pilot.press(by_symbol)
        await settled(pilot)
        assert labels(top) == sorted(labels(top), reverse=True)
        await pilot.press("9")  # there is no ninth column
        await settled(pilot)
        assert top.picture is not None
        assert sorted_by(top) == ("symbol", True)

    with_app(scenario)


def test_angle_brackets_sort_by_the_column_beside() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        names = [column.key for column in top.table.columns]
        for key, expected in ((">", names[1]), (">", names[2]), ("<", names[1]), ("<", names[0])):
            await pilot.press(key)
            await settled(pilot)
            assert top.picture is not None
            assert sorted_by(top)[0] == expected

    with_app(scenario)


def test_R_turns_the_order_around_and_shows_its_start() -> None:  # noqa: N802 - the key's name
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("R")
        await settled(pilot)
        weights = [row.self_weight for row in top.table.rows.items]
        assert weights == sorted(weights)
        assert top.table.cursor == 0

    with_app(scenario)


def test_a_click_on_a_header_sorts() -> None:
    async def scenario(_: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.click("#top", offset=(5, 0))
        await settled(pilot)
        assert top.picture is not None
        assert sorted_by(top) == ("self", False)

    with_app(scenario)


def test_help_opens_and_closes() -> None:
    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        for opens, closes in (("question_mark", "escape"), ("f1", "f1")):
            await pilot.press(opens)
            assert [type(screen) for screen in app.screen_stack] == [MainScreen, HelpScreen]
            await pilot.press(closes)
            assert [type(screen) for screen in app.screen_stack] == [MainScreen]

    with_app(scenario)


def test_the_help() -> None:
    golden("help-80x60", keys="question_mark", size=(80, 60))


def test_several_guests_get_a_column_and_a_group() -> None:
    session = of_two_guests(frozen())

    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert "2 guests" in screen_text(app)
        assert "db[1]" in screen_text(app)
        both = top.table.rows
        await pilot.press("right_curly_bracket", "right_curly_bracket")
        await settled(pilot)
        assert top.choice.guest == 1
        assert "db[1] only" in screen_text(app)
        assert {row.guest for row in both.items} == {0, 1}
        assert {row.guest for row in top.table.rows.items} == {1}
        await pilot.press("right_curly_bracket")
        await settled(pilot)
        assert "db[1] only" not in screen_text(app)
        await pilot.press("left_curly_bracket", "left_curly_bracket", "left_curly_bracket")
        await pilot.press("m", "m", "m", "m")
        await settled(pilot)
        assert top.choice.group is Group.GUEST
        assert len(top.table.rows) == 2

    with_app(scenario, session, size=(130, 30))


def test_enter_without_instructions_says_so() -> None:
    async def scenario(app: GprofApp, top: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert labels(top)[0] == "[user]"
        await pilot.press("enter")
        assert "Only a symbol has instructions" in screen_text(app)
        await pilot.press("down", "enter")
        assert "cannot be read here" in screen_text(app)
        row: Row | None = top.table.chosen
        assert row is not None
        assert row.symbol == "copy_user_enhanced_fast_string"

    with_app(scenario)


def greys_alone(app: GprofApp) -> bool:
    """Nothing on screen has a hue."""
    styles = [
        segment.style
        for strip in app.screen._compositor.render_strips()
        for segment in strip
        if segment.style
    ]
    colors = [color for style in styles for color in (style.color, style.bgcolor) if color]
    assert colors
    return all(len(set(color.get_truecolor())) == 1 for color in colors)


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def coloured(app: GprofApp, _: MainScreen, __: Pilot[GprofError]) -> None:
        assert not greys_alone(app)

    async def grey(app: GprofApp, _: MainScreen, __: Pilot[GprofError]) -> None:
        assert greys_alone(app)

    monkeypatch.delenv("NO_COLOR", raising=False)
    with_app(coloured)
    monkeypatch.setenv("NO_COLOR", "1")
    with_app(grey)
