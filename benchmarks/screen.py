"""What a repaint of the table costs, beside Textual's own DataTable in the same run.

    python benchmarks/screen.py [--rows 50000] [--repaints 30]

Prints the processor time of one repaint in milliseconds, median and best, at 130 by 50 cells:
after all rows were replaced (as each refresh of `top` does; the DataTable changes only the cells
that are on screen, which favours it), and after the cursor moved by one row.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import DataTable

from tui.widgets.column import Column, Rows, Share
from tui.widgets.line_table import LineTable

SIZE = (130, 50)

Item = tuple[int, int, str, str]

COLUMNS: tuple[Column[Item], ...] = (
    Column("self", "Self %", 19, lambda item: Share(item[1] / 10, item[1] / 1000)),
    Column("samples", "Samples", 9, lambda item: item[1], right=True),
    Column("symbol", "Symbol", 0, lambda item: item[2]),
    Column("module", "Module", 14, lambda item: item[3]),
)


def items(count: int, shift: int) -> list[Item]:
    """Rows whose numbers differ from one `shift` to the next, and whose names do not."""
    return [(n, (n * 7 + shift) % 1000, f"function_number_{n}", "[kernel]") for n in range(count)]


class Ours(App[None]):
    """The table of `top`."""

    CSS_PATH = "../tui/theme.tcss"

    def __init__(self, count: int) -> None:
        super().__init__()
        self.versions = [Rows.of(items(count, shift), lambda item: item[0]) for shift in (0, 1)]

    def compose(self) -> ComposeResult:
        """One table."""
        yield LineTable[Item](id="table")

    def replace(self, turn: int) -> None:
        """Show other rows."""
        self.query_one(LineTable).show(COLUMNS, self.versions[turn % 2])

    def move(self, turn: int) -> None:
        """Move the cursor by one."""
        self.query_one(LineTable).action_cursor(1 if turn % 2 else -1)


class Textuals(App[None]):
    """Textual's DataTable with the same content."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.versions = [items(count, shift) for shift in (0, 1)]

    def compose(self) -> ComposeResult:
        """One table."""
        yield DataTable(cursor_type="row")

    def on_mount(self) -> None:
        """Fill it once."""
        table = self.query_one(DataTable)
        for key, width in (("self", 8), ("samples", 9), ("symbol", 60), ("module", 14)):
            table.add_column(key, key=key, width=width)
        for n, weight, symbol, module in self.versions[0]:
            table.add_row(f"{weight / 10:.2f}", weight, symbol, module, key=str(n))

    def replace(self, turn: int) -> None:
        """Change the numbers of the rows on screen."""
        table = self.query_one(DataTable)
        for n, weight, _, _ in self.versions[turn % 2][: SIZE[1]]:
            table.update_cell(str(n), "self", f"{weight / 10:.2f}")
            table.update_cell(str(n), "samples", weight)

    def move(self, turn: int) -> None:
        """Move the cursor by one."""
        table = self.query_one(DataTable)
        if turn % 2:
            table.action_cursor_down()
        else:
            table.action_cursor_up()


async def measured(pilot: Pilot[None], change: Callable[[int], None], repaints: int) -> list[float]:
    """Processor milliseconds from a change to its paint, once for each repaint."""
    times = []
    for turn in range(repaints):
        await pilot.pause()
        before = time.process_time()
        change(turn)
        # Zero seconds: handles what is queued and paints, without a wait that costs time itself.
        await pilot.pause(0)
        times.append(1000 * (time.process_time() - before))
    return times


async def run(app: Any, repaints: int, report: Callable[[str, list[float]], None]) -> None:
    """Measure both changes on one app."""
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.replace(1)
        report("all rows replaced", await measured(pilot, app.replace, repaints))
        report("cursor moved", await measured(pilot, app.move, repaints))


def main() -> None:
    """Measure ours and Textual's, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--repaints", type=int, default=30)
    given = parser.parse_args()

    def reporter(name: str) -> Callable[[str, list[float]], None]:
        def report(what: str, times: list[float]) -> None:
            print(
                f"{name:10} {what:18} median {statistics.median(times):7.2f} ms"
                f"  best {min(times):7.2f} ms"
            )

        return report

    print(f"{given.rows:,} rows on {SIZE[0]}x{SIZE[1]}, {given.repaints} repaints, processor time")
    runs: list[tuple[str, Any]] = [("LineTable", Ours), ("DataTable", Textuals)]
    for name, app in runs:
        job: Awaitable[None] = run(app(given.rows), given.repaints, reporter(name))
        asyncio.run(job)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
