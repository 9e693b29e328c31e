"""What holds for every view: how it looks, tabs, finding, filters, images, guests, modes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from gprof.errors import GprofError
from gprof.sampling.source import Mode, SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.screen_text import screen_text, settled
from tests.screens import golden, press, under_cursor, view_of, with_app
from tests.sessions import FrozenSession, SomeExits, frozen, of_two_guests, stacked
from tui.app import GprofApp
from tui.glyphs import ASCII
from tui.image_rows import ImageRow
from tui.picture import MOST_ROWS
from tui.screens.main import MainScreen
from tui.tree_rows import MOST_CHILDREN
from tui.view import View
from tui.widgets.tree_table import TreeTable


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("tree", "T"),
        ("tree-inverted", "T i right down right"),
        ("flame", "f down down"),
        ("flame-fire", "f v up"),
        ("flame-zoom", "f down right enter"),
        ("flame-inverted", "f i down"),
        ("symbols", "s"),
    ],
)
def test_the_views(name: str, keys: str) -> None:
    text = golden(f"{name}-100x30", stacked(), keys=keys)
    assert "[" + name.partition("-")[0][:1].lower() in text.lower()


@pytest.mark.parametrize(("name", "keys"), [("tree", "T"), ("flame", "f"), ("symbols", "s")])
def test_the_views_on_80_columns(name: str, keys: str) -> None:
    text = golden(f"{name}-80x24", stacked(), keys=keys, size=(80, 24))
    assert "q Quit" in text


@pytest.mark.parametrize(("name", "keys"), [("tree", "T"), ("flame", "f down"), ("symbols", "s")])
def test_the_views_without_block_glyphs(name: str, keys: str) -> None:
    text = golden(f"{name}-ascii-80x24", stacked(), keys=keys, size=(80, 24), glyphs=ASCII)
    assert text.isascii()


@pytest.mark.parametrize(("name", "keys"), [("tree", "T"), ("flame", "f")])
def test_without_stacks_trees_go_by_mode_and_module(name: str, keys: str) -> None:
    text = golden(f"{name}-flat-100x30", keys=keys)
    assert "no call stacks" in text


def test_tabs_go_round_by_key_and_by_click() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        seen = []
        for _ in range(5):
            await press(pilot, "tab")
            seen.append(main.choice.view)
        assert seen == [View.TREE, View.FLAME, View.EXITS, View.SYMBOLS, View.TOP]
        await press(pilot, "shift+tab")
        assert view_of(main) is View.SYMBOLS
        line = next(y for y, t in enumerate(screen_text(app).splitlines()) if "t Top" in t)
        at = screen_text(app).splitlines()[line].index("Flame")
        await pilot.click(offset=(at, line))
        await settled(pilot)
        assert view_of(main) is View.FLAME

    with_app(scenario, stacked(), exits=SomeExits())


def test_finding_marks_and_goes_from_one_to_the_next() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("F", *"vfs_", "enter")
        await settled(pilot)
        found = [under_cursor(main).label]
        assert "in 2 rows" in screen_text(app)
        for key in ("n", "n", "N"):
            await press(pilot, key)
            found.append(under_cursor(main).label)
        assert found == ["vfs_read", "vfs_write", "vfs_read", "vfs_write"]
        await press(pilot, "T E n")
        assert "vfs_" in under_cursor(main).node.name
        await press(pilot, "s n")
        assert "Nothing of what is shown has it." in screen_text(app)
        await press(pilot, "escape t n")
        assert "Nothing is looked for" in screen_text(app)

    with_app(scenario, stacked())


def test_enter_goes_into_what_a_row_stands_for() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "s")
        row = main.table.chosen
        assert isinstance(row, ImageRow)
        assert row.name == "[kernel]"
        await press(pilot, "enter")
        assert view_of(main) is View.TOP
        assert {row.module for row in main.table.rows.items} == {"[kernel]"}
        await press(pilot, "X m enter")  # by module, its first
        assert len({row.module for row in main.table.rows.items}) == 1
        await press(pilot, "X m m enter")  # by mode
        assert len({row.mode for row in main.table.rows.items}) == 1
        await press(pilot, "X M M M M m m m enter")  # by vcpu
        assert main.choice.vcpu is not None

    with_app(scenario)


def test_every_view_follows_the_filter() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await pilot.press("slash", *"symbol:vfs_write", "enter")
        await settled(pilot)
        assert main.picture is not None
        weight = main.picture.table.weight
        assert 0 < weight < 1000
        for key in "Tf":
            await press(pilot, key)
            assert main.picture.tree is not None
            assert main.picture.tree.total == weight
        await press(pilot, "s")
        assert sum(row.weight for row in main.table.rows.items) == weight

    with_app(scenario, stacked())


def test_images_tell_what_is_known_of_them() -> None:
    profile = frozen()
    kernel = profile.space(0).images[0]
    for build_id, match in ((kernel.build_id, "build id"), (b"\1" * 20, "another build")):
        guest = replace(profile.guests[0], build_id=build_id)
        session = FrozenSession(replace(profile, guests={0: guest}))

        async def scenario(
            app: GprofApp, main: MainScreen, pilot: Pilot[GprofError], match: str = match
        ) -> None:
            await press(pilot, "s")
            rows = {row.name: row for row in main.table.rows.items}
            assert rows["[kernel]"].match == match
            assert rows["blob"].match == "no symbols"
            assert rows["blob"].unresolved == rows["blob"].weight > 0
            assert rows["ext4"].unresolved == 0
            assert rows["[user]"].image is None
            assert f"slide {kernel.slide:#x}" in screen_text(app)
            assert kernel.build_id.hex() in screen_text(app)

        with_app(scenario, session, size=(180, 30))


def test_guests_are_the_first_level_of_trees() -> None:
    session = of_two_guests(frozen(stacks=True))

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "T C")
        tree = main.query_one(TreeTable)
        assert sorted(row.node.name for row in tree.rows.items) == ["db[1]", "web1"]
        await press(pilot, "s")
        guests = {row.guest for row in main.table.rows.items}
        assert guests == {0, 1}
        assert "db[1]" in screen_text(app)

    with_app(scenario, session, size=(130, 30))


def test_modes_that_are_hidden_are_hidden_everywhere() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "T u")
        assert main.picture is not None
        assert main.picture.tree is not None
        assert "[user]" not in {node.name for node in main.picture.tree.branches()}
        await press(pilot, "K f")
        assert "Nothing is left of the samples" in screen_text(app)
        await press(pilot, "I")
        assert main.picture.tree is not None
        assert main.picture.share(Mode.IDLE) > 0
        assert main.picture.tree.total > 0

    with_app(scenario, stacked())


def test_of_thousands_of_rows_the_heaviest_are_shown_and_the_rest_is_told() -> None:
    count, base = MOST_ROWS + 500, 0xFFFFFFFF81000000
    table = SymbolTable.of(
        [Symbol(f"f{n:04}", base + 16 * n, base + 16 * n + 16) for n in range(count)]
    )
    image = LoadedImage("[kernel]", ImageKind.KERNEL, base, base + 16 * count, table)
    pcs = [base + 16 * n for n in range(count)] + [base + 16 * (count - 1)]
    session = FrozenSession(
        replace(frozen(), samples=SampleBatch.of(pcs), spaces={0: AddressSpace([image])})
    )

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert len(main.table.rows) == MOST_ROWS
        assert under_cursor(main).label == f"f{count - 1}"
        assert "500 rows with less are not shown" in screen_text(app)
        await press(pilot, "3")  # by name
        assert len(main.table.rows) == count
        assert under_cursor(main).label == "f0000"
        await press(pilot, "T")
        assert "more)" not in screen_text(app)
        await press(pilot, "G")
        assert f"({count - MOST_CHILDREN:,} more)" in screen_text(app)
        await press(pilot, "enter")
        assert "Only a symbol has instructions" in screen_text(app)

    with_app(scenario, session)
