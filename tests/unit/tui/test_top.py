"""The first screen, key by key, on sessions that stand still."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from textual.events import Key
from textual.pilot import Pilot

from gprof.errors import GprofError, TargetGone
from gprof.profile.profile import Guest, Profile
from gprof.profile.view import Group, Row
from gprof.sampling.source import Mode, SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.screen_text import screen_text, settled
from tests.screens import golden, with_app
from tests.sessions import FrozenSession, frozen, grown
from tui.app import GprofApp, make_app
from tui.glyphs import ASCII, BLOCKS
from tui.picture import State
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen


def sorted_by(top: MainScreen) -> tuple[str, bool]:
    assert top.picture is not None
    assert top.picture.sheet is not None
    return top.picture.sheet.sort


def typed(top: MainScreen) -> str:
    return top.choice.draft.text if top.choice.draft else ""


def labels(top: MainScreen) -> list[str]:
    return [row.label for row in top.table.rows.items]


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
        for _ in range(200):  # each key travels to the table and back before it finds the line
            if typed(top) == "ext4":
                break
            await pilot.pause()
        assert typed(top) == "ext4"
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
            for _ in range(500):
                await pilot.pause(0.01)
                if "2,500 samples" in screen_text(app):
                    break
            assert "2,500 samples" in screen_text(app)
            session.ended = True
            for _ in range(500):
                await pilot.pause(0.01)
                if " ENDED\n" in screen_text(app):
                    break
            assert " ENDED\n" in screen_text(app)

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


def test_several_guests_get_a_column_and_a_group() -> None:
    profile = frozen()
    guest = profile.samples.guest.copy()
    guest[1000:] = 1
    session = FrozenSession(
        replace(
            profile,
            samples=replace(profile.samples, guest=guest),
            guests={0: profile.guests[0], 1: Guest(1, "db[1]")},
            spaces={0: profile.space(0), 1: profile.space(0)},
        )
    )

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


HOSTILE = (
    "[vdso]", "[/]", "[a={'b[0]'}]", "[bold red]x[/bold red]", "\x1b[31m\x1b]0;title\x07red",
    "left\u202eright\u2066", "e" * 10_000, "漢字" * 5000, "line\nfeed\ttab\x00", "$variable @click",
)  # fmt: skip


def hostile_profile() -> Profile:
    """Every text that a guest or a user can bring, in the worst shape."""
    base = 0xFFFFFFFF81000000
    table = SymbolTable.of(
        [Symbol(name, base + 16 * i, base + 16 * i + 16) for i, name in enumerate(HOSTILE)]
    )
    end = base + 16 * len(HOSTILE)
    image = LoadedImage("[/red]\x1b[2J", ImageKind.KERNEL, base, end, table, 0)
    return replace(
        frozen(2),
        samples=SampleBatch.of(
            [base + 16 * i for i in range(len(HOSTILE)) for _ in range(i, len(HOSTILE))]
        ),
        spaces={0: AddressSpace([image])},
        guests={0: Guest(0, "\x1b[5m[/]" + "g" * 10_000, "[b]", (0,), "6.1\x1b[0m\u202e")},
        facts=replace(
            frozen(2).facts, target="[/]\x1b[H" + "t" * 10_000, notes=("[/] \x1b[2J note\nlines",)
        ),
    )


def test_text_from_outside_is_neither_markup_nor_escapes() -> None:
    failure = TargetGone("[/red] \x1b[2J gone", "[bold]do[/bold]\n\u202ethat")
    session = FrozenSession(hostile_profile(), failure=failure)
    seen = golden("hostile-100x30", session)
    assert all(c.isprintable() or c == "\n" for c in seen)
    for name in ("[vdso]", "[/]", "[a={'b[0]'}]", "[bold red]x[/bold red]", "$variable @click"):
        assert name in seen
    golden("hostile-notes-80x24", FrozenSession(hostile_profile()), size=(80, 24))


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
