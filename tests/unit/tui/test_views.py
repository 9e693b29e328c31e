"""Every view, key by key, on sessions that stand still."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from gprof.errors import FormatError, GprofError
from gprof.profile.exit_summary import ExitGroup, ExitRow, ExitTable
from gprof.profile.profile import Guest
from gprof.sampling.source import Mode, SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import hostile
from tests.screen_text import screen_text, settled
from tests.screens import golden, press, under_cursor, with_app
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp
from tui.glyphs import ASCII, BLOCKS
from tui.image_rows import ImageRow
from tui.picture import MOST_ROWS
from tui.screens.main import MainScreen
from tui.tree_rows import MOST_CHILDREN
from tui.view import View
from tui.widgets.tree_table import TreeTable


def view_of(main: MainScreen) -> View:
    return main.choice.view


def path_of(main: MainScreen) -> list[str]:
    """The names from the root of the flame graph to its cursor."""
    return [name for name, _, _ in main.flame.cursor]


def zoom_of(main: MainScreen) -> list[str]:
    return [name for name, _, _ in main.flame.zoom]


def stacked() -> FrozenSession:
    return FrozenSession(frozen(stacks=True))


class SomeExits:
    """Exits that stand still."""

    def __init__(self, failure: GprofError | None = None, name: str = "web1") -> None:
        self.failure = failure
        self.name = name

    def count(self, by: Sequence[ExitGroup]) -> ExitTable:
        if self.failure is not None:
            raise self.failure
        rows = [
            ExitRow(
                guest=0 if by[0] is not ExitGroup.REASON else None,
                vcpu=1 if ExitGroup.VCPU in by else None,
                reason=reason if ExitGroup.REASON in by else "",
                symbol=symbol if ExitGroup.SYMBOL in by else None,
                count=count,
                share_percent=50.0,
                total_ns=total,
                time_percent=total / 60_000,
                min_ns=900,
                max_ns=2 * total,
                mean_ns=total / count,
                deviation_percent=1.5,
                p50_ns=total // count,
                p99_ns=total,
            )
            for reason, symbol, count, total in (
                ("msr", "native_write_msr", 400, 4_000_000),
                ("hlt", "default_idle", 20, 1_500_000),
                ("io", None, 7, 500_000),
            )
        ]
        return ExitTable(tuple(rows), 427, 6_000_000, 0, 0, "host")

    def names(self) -> Mapping[int, str]:
        return {0: self.name}


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


def test_exits() -> None:
    golden("exits-100x30", stacked(), keys="x", exits=SomeExits())
    text = golden("exits-symbols-100x30", stacked(), keys="x m", exits=SomeExits())
    assert "native_write_msr" in text
    assert "unknown" in text
    golden("exits-vcpus-80x24", stacked(), keys="x m m", size=(80, 24), exits=SomeExits())


def test_exits_that_cannot_be_counted_say_why() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "x")
        assert "it is cut" in screen_text(app)
        assert "record anew" in screen_text(app)
        assert view_of(main) is View.EXITS

    with_app(scenario, exits=SomeExits(FormatError("it is cut", "record anew")))


def test_a_source_without_exits_has_no_tab_for_them() -> None:
    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert "Exits" not in screen_text(app)
        await press(pilot, "x")
        assert view_of(main) is View.TOP
        assert "no VM exits" in screen_text(app)

    with_app(scenario)


def test_exits_come_first_where_there_is_nothing_else() -> None:
    empty = replace(frozen(), samples=SampleBatch.empty())

    async def scenario(app: GprofApp, main: MainScreen, _: Pilot[GprofError]) -> None:
        assert view_of(main) is View.EXITS
        assert "msr" in screen_text(app)

    with_app(scenario, FrozenSession(empty), exits=SomeExits())


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


def test_the_tree_opens_and_closes() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "T")
        tree = main.query_one(TreeTable)

        def names() -> list[str]:
            return [row.node.name for row in tree.rows.items]

        assert names()[:3] == ["entry_SYSCALL_64_after_hwframe", "do_syscall_64", "ksys_write"]
        await press(pilot, "left")  # closes the first
        assert names()[1] == "[user]"
        await press(pilot, "right right")  # opens it and goes below
        assert tree.cursor == 1
        await press(pilot, "left left")  # closes it, goes to what is above
        assert tree.cursor == 0
        await press(pilot, "C")
        closed = len(names())
        assert all(len(row.path) == 1 for row in tree.rows.items)
        await press(pilot, "E")
        assert len(names()) > closed + 10
        await press(pilot, "C H")
        assert tree.chosen is not None
        assert tree.chosen.open is None or tree.cursor > 2
        assert sum(len(row.path) == 1 for row in tree.rows.items) == closed

    with_app(scenario, stacked())


def test_a_click_opens_the_row_under_the_cursor() -> None:
    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "T C")
        tree = main.query_one(TreeTable)
        before = len(tree.rows)
        for more in (True, False):
            await pilot.click("#tree", offset=(40, 1))
            await settled(pilot)
            assert (len(tree.rows) > before) is more
        await pilot.click("#tree", offset=(40, 3))
        await settled(pilot)
        assert tree.cursor == 2
        assert len(tree.rows) == before

    with_app(scenario, stacked())


def test_a_live_tree_keeps_what_is_open() -> None:
    session = FrozenSession(frozen(stacks=True), ended=False)

    async def scenario(_: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "T down down")
        tree = main.query_one(TreeTable)
        chosen = tree.chosen
        assert chosen is not None
        opened = {row.path for row in tree.rows.items if row.open}
        session.profile = frozen(2500, stacks=True)
        await press(pilot, "I")
        assert {row.path for row in tree.rows.items if row.open} == opened
        assert tree.chosen is not None
        assert tree.chosen.path == chosen.path
        assert tree.chosen.node is not chosen.node

    with_app(scenario, session)


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


@pytest.mark.parametrize(
    ("name", "keys"),
    [("tree", "T"), ("tree-up", "T i"), ("flame", "f down"), ("symbols", "s"), ("modules", "m"),
     ("exits", "x m"), ("find", "f ctrl+f [ enter")],
)  # fmt: skip
def test_text_from_outside_is_neither_markup_nor_escapes_in_any_view(name: str, keys: str) -> None:
    session = FrozenSession(hostile())
    text = golden(f"hostile-{name}-100x30", session, keys=keys, exits=SomeExits(name="\x1b[2J[/]"))
    assert all(c.isprintable() or c == "\n" for c in text)
    for line in text.splitlines():
        assert len(line) <= 100


def test_guests_are_the_first_level_of_trees() -> None:
    profile = frozen(stacks=True)
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
