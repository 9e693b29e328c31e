"""The call tree, opened and closed by key and by click."""

from __future__ import annotations

from textual.pilot import Pilot

from gprof.errors import GprofError
from tests.screen_text import settled
from tests.screens import press, with_app
from tests.sessions import FrozenSession, frozen, stacked
from tui.app import GprofApp
from tui.screens.main import MainScreen
from tui.widgets.tree_table import TreeTable


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
