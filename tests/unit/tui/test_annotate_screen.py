"""The instructions of a symbol on screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gprof.annotator import Annotator
from gprof.errors import GprofError
from gprof.profile.listing import Line, Listing
from gprof.profile.profile import Profile
from gprof.profile.source_rows import SourceRow, Sum
from gprof.profile.stacks import StackTable
from gprof.sampling.source import SampleBatch
from symbols.errors import SymbolsError
from symbols.lines import SourceFrame
from symbols.memory import BytesMemory
from symbols.source_tree import SourceTree
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import KERNEL
from tests.screen_text import assert_golden, screen_text, settled
from tests.screens import press
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp, make_app
from tui.glyphs import BLOCKS
from tui.listing_rows import ListingRow
from tui.screens.annotate import AnnotateScreen

GOLDENS = Path(__file__).parent / "goldens"

Scenario = Callable[[GprofApp, AnnotateScreen, Pilot[GprofError]], Awaitable[None]]


def with_listing(
    scenario: Scenario,
    annotator: Annotator | None = None,
    size: tuple[int, int] = (100, 20),
    profile: Profile | None = None,
    down: int = 2,
) -> GprofApp:
    """Run a scenario on the listing of the one function that has its code in the profile."""
    profile = profile or frozen()
    annotator = annotator or Annotator(profile.texts)
    app = make_app(FrozenSession(profile), refresh_s=3600, annotator=annotator, glyphs=BLOCKS)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            await pilot.press(*["down"] * down, "enter")
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
        weights = [line.weight if isinstance(line, Line) else 0 for line in lines]
        hot = sorted((i for i, weight in enumerate(weights) if weight), key=lambda i: -weights[i])
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
    class Refusing(Annotator):
        def at_address(self, *_: object, **__: object) -> Listing:
            raise SymbolsError("The code of [/] cannot be read.", "Give the\nfile \x1b[2J.")

    async def scenario(app: GprofApp, _: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        text = screen_text(app)
        assert " The code of [/] cannot be read." in text
        assert " Give the\n file \\x1b[2J." in text
        await pilot.press("H", "tab", "escape")
        assert len(app.screen_stack) == 1

    with_listing(scenario, Refusing({}))


#: fill: mov $0x1000,%ecx; again: xor %eax,%eax; call other; jmp again; ret. other: nop; ret
FILL = KERNEL
OTHER = KERNEL + 0x20
CODE = bytes.fromhex("b900100000 31c0 e814000000 ebf7 c3")
OWN = SourceFrame("fill", "mm/fill.c", 7)
INNER = SourceFrame("clear", "mm/clear.h", 3)
CHAINS = {FILL: (OWN,), FILL + 5: (INNER, OWN), FILL + 7: (OWN,), FILL + 12: (OWN,)}


class Sourced(Annotator):
    """Knows the source of `fill`."""

    def with_sources(self, profile: Profile, listing: Listing) -> Listing:
        return listing.with_sources(CHAINS) if listing.at.symbol.name == "fill" else listing


def calling(tree: SourceTree | None = None) -> tuple[Profile, Annotator]:
    """Two functions, one of which calls the other, and what lists them."""
    table = SymbolTable.of(
        [Symbol("fill", FILL, FILL + len(CODE)), Symbol("other", OTHER, OTHER + 2)]
    )
    image = LoadedImage("[kernel]", ImageKind.KERNEL, FILL, FILL + 0x1000, table)
    stacks = StackTable()
    called = stacks.add((OTHER, FILL + 12))
    batch = SampleBatch.of(
        [FILL + 5] * 7 + [FILL + 7] * 2 + [OTHER], stack=[0] * 9 + [called], weight=9
    )
    spaces = {0: AddressSpace([image])}
    profile = replace(frozen(10), samples=batch, spaces=spaces, stacks=stacks)
    code = BytesMemory([(FILL, CODE), (OTHER, b"\x90\xc3")])
    return profile, Sourced({0: code}, tree=tree)


def on_fill(
    scenario: Scenario, size: tuple[int, int] = (100, 20), tree: SourceTree | None = None
) -> GprofApp:
    profile, annotator = calling(tree)
    return with_listing(scenario, annotator, size, profile, down=0)


def cursor_row(screen: AnnotateScreen) -> ListingRow:
    row = screen.table.chosen
    assert row is not None
    return row


def test_sources_are_between_the_instructions_and_can_be_hidden() -> None:
    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        assert_golden(screen_text(app), GOLDENS / "annotate-sources-100x20.txt")
        await pilot.press("s", "a", "b", "O", "o", "p", "t")
        await settled(pilot)
        assert_golden(screen_text(app), GOLDENS / "annotate-plain-100x20.txt")

    on_fill(scenario)


def test_enter_follows_jumps_and_calls_and_escape_comes_back() -> None:
    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        async def find(text: str) -> None:
            await pilot.press("slash", *text, "enter")
            await settled(pilot)

        await find("jmp")
        assert isinstance(row := cursor_row(screen), Line)
        assert row.address == FILL + 12
        await pilot.press("enter")
        assert isinstance(row := cursor_row(screen), Line)
        assert row.address == FILL + 5
        await pilot.press("escape")
        assert isinstance(row := cursor_row(screen), Line)
        assert row.address == FILL + 12
        await find("callq")
        await pilot.press("enter")
        await settled(pilot)
        assert " other  [kernel]" in screen_text(app)
        await pilot.press("enter")
        assert "Only a jump or a call" in screen_text(app)
        await pilot.press("backspace")
        await settled(pilot)
        assert isinstance(row := cursor_row(screen), Line)
        assert row.address == FILL + 7
        await pilot.press("escape")
        await settled(pilot)
        assert len(app.screen_stack) == 1

    on_fill(scenario)


def test_samples_fold_by_line_and_by_function() -> None:
    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("f")
        await settled(pilot)
        assert_golden(screen_text(app), GOLDENS / "annotate-lines-100x20.txt")
        assert isinstance(row := cursor_row(screen), Sum)
        assert row.frame == INNER
        await pilot.press("enter")
        assert isinstance(at := cursor_row(screen), Line)
        assert at.address == FILL + 5
        await pilot.press("f", "f")
        assert all(isinstance(one, Sum) and not one.frame.line for one in screen.table.rows.items)
        await pilot.press("f")
        assert any(isinstance(one, Line) for one in screen.table.rows.items)

    on_fill(scenario)


def test_a_search_goes_on_and_says_when_there_is_nothing() -> None:
    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("home", "slash", "/", "escape", "slash", *"fill", "enter")
        await settled(pilot)
        first = screen.table.cursor
        await pilot.press("n")
        second = screen.table.cursor
        assert second > first
        await pilot.press("N")
        assert screen.table.cursor == first
        await pilot.press("slash", *"nowhere", "enter")
        await settled(pilot)
        assert "'nowhere' is nowhere" in screen_text(app)
        assert screen.table.cursor == first

    on_fill(scenario)


def test_the_other_syntax_of_x86() -> None:
    async def scenario(app: GprofApp, _: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("x")
        await settled(pilot)
        assert "mov ecx, 0x1000" in screen_text(app)

    on_fill(scenario)


def test_a_narrow_terminal_keeps_the_instructions() -> None:
    async def scenario(app: GprofApp, _: AnnotateScreen, __: Pilot[GprofError]) -> None:
        text = screen_text(app)
        assert "xorl %eax, %eax" in text
        assert "Address" not in text

    on_fill(scenario, (52, 20))


def test_the_line_under_the_cursor_is_opened_in_the_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mm").mkdir()
    path = tmp_path / "mm" / "fill.c"
    path.write_text("int line;\n" * 9)
    opened: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> None:
        assert not check
        opened.append(command)

    async def scenario(app: GprofApp, screen: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        async def edit(keys: str) -> ListingRow:
            await press(pilot, f"{keys} e")
            return cursor_row(screen)

        row = await edit("H")
        assert isinstance(row, Line)
        assert row.chain[0] == INNER
        assert "mm/clear.h:3 is not on this machine" in screen_text(app)
        assert not opened
        assert isinstance(await edit("tab"), Line)
        assert isinstance(await edit("up"), SourceRow)
        assert opened == [["vi", "+7", str(path)]] * 2
        assert "not on this machine" not in screen_text(app)
        assert isinstance(row := await edit("f home"), Sum)
        assert row.frame == replace(OWN, line=0)
        assert isinstance(row := await edit("down"), Sum)
        assert row.frame == OWN
        assert opened[2:] == [["vi", str(path)], ["vi", "+7", str(path)]]
        monkeypatch.delenv("EDITOR")
        await edit("H")
        await edit("home")
        assert "no editor is known Set $EDITOR" in screen_text(app)

    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "vi")
    # A test's terminal cannot be lent to a program.
    monkeypatch.setattr(GprofApp, "suspend", lambda _: nullcontext())
    monkeypatch.setattr("tui.editor.subprocess.run", run)
    on_fill(scenario, tree=SourceTree([tmp_path]))


def test_a_row_without_source_cannot_be_opened() -> None:
    async def scenario(app: GprofApp, _: AnnotateScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "e")
        assert "The source of this row is not known." in screen_text(app)

    with_listing(scenario)
