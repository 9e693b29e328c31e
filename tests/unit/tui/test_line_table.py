"""The table that draws only what is on screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from tests.screen_text import screen_text
from tui.glyphs import ASCII, BLOCKS
from tui.toned import Tone
from tui.widgets.column import Column, Rows, Share
from tui.widgets.line_table import LineTable, bar_of, fitted

COLUMNS: tuple[Column[tuple[int, str]], ...] = (
    Column("n", "Count", 6, lambda item: item[0], lambda item: item[0], falling=True, right=True),
    Column("name", "Name", 0, lambda item: (item[1], Tone.PLAIN), lambda item: item[1]),
    Column("extra", "Extra", 10, lambda item: "x", rank=1),
)


class TableApp(App[None]):
    CSS_PATH = "../../../tui/theme.tcss"

    def __init__(self) -> None:
        super().__init__()
        self.sorted_by: list[str] = []

    def compose(self) -> ComposeResult:
        yield LineTable[tuple[int, str]](id="table")

    @property
    def table(self) -> LineTable[tuple[int, str]]:
        return self.query_one("#table", LineTable)

    def on_line_table_sorted(self, message: LineTable.Sorted) -> None:
        self.sorted_by.append(message.column)


def rows(items: list[tuple[int, str]]) -> Rows[tuple[int, str]]:
    return Rows.of(items, lambda item: item[1])


MANY = rows([(n, f"name{n}") for n in range(1000)])


def with_table(
    scenario: Callable[[TableApp, Pilot[None]], Awaitable[None]], size: tuple[int, int] = (60, 11)
) -> None:
    async def run() -> None:
        app = TableApp()
        async with app.run_test(size=size) as pilot:
            app.table.show(COLUMNS, MANY, ("n", True))
            app.table.focus()
            await pilot.pause()
            await scenario(app, pilot)

    asyncio.run(run())


#: From the first of a thousand rows, ten of them on screen: a key, and where it leads.
WALK = (
    ("up", 0), ("down", 1), ("j", 2), ("k", 1), ("up", 0), ("pagedown", 9), ("pagedown", 18),
    ("pageup", 9), ("end", 999), ("down", 999), ("home", 0), ("G", 999), ("k", 998), ("g", 0),
)  # fmt: skip


def test_keys_move_the_cursor_and_bring_it_into_sight() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        for key, cursor in WALK:
            await pilot.press(key)
            await pilot.pause()
            assert app.table.cursor == cursor, key
            (line,) = [line for line in screen_text(app).splitlines() if "▸" in line]
            assert line.split()[1:3] == [str(cursor), f"name{cursor}"], key

    with_table(scenario)


def test_only_what_is_on_screen_is_drawn() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        drawn = []

        def name(item: tuple[int, str]) -> str:
            drawn.append(item[0])
            return item[1]

        app.table.show((Column("name", "Name", 0, name),), MANY)
        await pilot.pause()
        await pilot.press("G")
        await pilot.pause()
        assert set(drawn) <= set(range(11)) | set(range(989, 1000))
        assert {0, 999} <= set(drawn)
        count = len(drawn)
        app.table.refresh()
        await pilot.pause()
        assert len(drawn) == count, "lines that did not change are painted from what was kept"

    with_table(scenario)


def test_the_cursor_stays_on_its_row_when_rows_change() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "down")
        app.table.show(COLUMNS, rows([(n, f"name{n}") for n in reversed(range(1000))]))
        await pilot.pause()
        assert app.table.chosen == (3, "name3")
        assert app.table.cursor == 996
        assert "▸" in screen_text(app), "a cursor that was in sight stays in sight"

    with_table(scenario)


def test_a_cursor_whose_row_is_gone_stays_at_its_place() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        await pilot.press("G")
        app.table.show(COLUMNS, rows([(1, "a"), (2, "b")]))
        await pilot.pause()
        assert app.table.cursor == 1
        app.table.show(COLUMNS, rows([]))
        await pilot.pause()
        assert app.table.chosen is None
        await pilot.press("down", "G", "pageup")
        assert app.table.cursor == 0

    with_table(scenario)


def test_scrolling_away_from_the_cursor_is_not_undone_by_new_rows() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        app.table.scroll_to(y=500, animate=False, immediate=True)
        await pilot.pause()
        app.table.show(COLUMNS, MANY)
        await pilot.pause()
        assert "name505" in screen_text(app)
        assert app.table.cursor == 0

    with_table(scenario)


def test_mouse() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        await pilot.click("#table", offset=(12, 4))
        assert app.table.cursor == 3
        await pilot.click("#table", offset=(3, 0))
        await pilot.click("#table", offset=(12, 0))
        await pilot.click("#table", offset=(51, 0))  # a column that cannot be sorted by
        await pilot.pause()
        assert app.sorted_by == ["n", "name"]

    with_table(scenario)


def test_every_line_has_the_width_of_the_terminal() -> None:
    async def scenario(app: TableApp, pilot: Pilot[None]) -> None:
        wide = rows([(1, "漢字" * 40), (2, "e\u0301" * 60), (3, "x" * 10_000), (4, "")])
        for width in (60, 33, 21, 7, 2, 1):
            await pilot.resize_terminal(width, 8)
            app.table.show(COLUMNS, wide, ("name", False))
            await pilot.pause()
            for y in range(6):
                strip = app.table.render_line(y)
                assert sum(cell_len(segment.text) for segment in strip) == app.table.size.width

    with_table(scenario)


def test_columns_leave_by_rank_where_the_terminal_is_narrow() -> None:
    assert [column.key for column, _ in fitted(COLUMNS, 60)] == ["n", "name", "extra"]
    assert [column.key for column, _ in fitted(COLUMNS, 40)] == ["n", "name"]
    assert [column.key for column, _ in fitted(COLUMNS, 5)] == ["n", "name"]
    assert fitted((), 80) == ()


def test_columns_stretch_where_the_terminal_is_wide() -> None:
    columns: tuple[Column[str], ...] = (
        Column("bar", "Bar", 10, lambda _: Share(1, 1), stretch=6),
        Column("name", "Name", 0, str),
    )
    assert [width for _, width in fitted(columns, 50)] == [10, 36]
    assert [width for _, width in fitted(columns, 62)] == [12, 46]
    assert [width for _, width in fitted(columns, 200)] == [16, 180]


@given(length=st.floats(-1, 2), width=st.integers(-2, 40), parts=st.sampled_from([BLOCKS, ASCII]))
def test_a_bar_fills_its_width_in_proportion(length: float, width: int, parts: object) -> None:
    glyphs = BLOCKS if parts is BLOCKS else ASCII
    bar = bar_of(length, width, glyphs.bar)
    assert cell_len(bar) == max(width, 0)
    if width > 0:
        assert bool(bar.strip()) == (length > 0)
        assert abs(len(bar.rstrip()) - min(max(length, 0), 1) * width) <= 1
