"""What the screen costs.

    python benchmarks/screen.py [repaints] [looks] [lateness]
        [--rows 50000] [--samples 1000000] [--repaints 30] [--seconds 8] [--pairs 5]

Prints, at 130 by 50 cells, all of this or what is asked for:

- repaints: the processor time of one repaint of the table, median and best, beside Textual's own
  DataTable in the same run: after all rows were replaced (the DataTable changes only the cells
  that are on screen, which favours it), and after the cursor moved by one row;
- looks: the processor time of a look at a session (of its own thread) and of showing it (of the
  screen's thread), in every view, with so many samples of so many symbols, of which 400 are new
  each time;
- lateness: how many samples of the demo guest come late at 499 Hz without the screen and with
  it, in pairs of runs whose order changes; the differences within pairs, beside how much runs
  of one kind differ, say whether the screen is to be seen in them.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import DataTable

from gprof.cli.options import LiveOptions
from gprof.cli.running import begin
from gprof.guest.demo import DemoGuest, qemu_available
from gprof.live import Live
from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.samples import SampleTable
from gprof.profile.stacks import StackTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling.source import COLUMN_TYPES, Mode, SampleBatch, SourceFacts
from gprof.sources import Sources
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tui.app import make_app
from tui.choice import Choice
from tui.glyphs import BLOCKS
from tui.messages import PictureTaken
from tui.picture import take_picture
from tui.screens.main import MainScreen
from tui.view import View
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


class Growing:
    """A session over made-up samples of one kernel, which grows at each look.

    Args:
        symbols: how many functions the kernel has.
        samples: how many there are at first.
    """

    FRESH = 400

    def __init__(self, symbols: int, samples: int) -> None:
        base = 0xFFFFFFFF81000000
        numbers = np.random.default_rng(1)
        table = SymbolTable.of(
            [Symbol(f"function_number_{n}", base + 64 * n, base + 64 * n + 64)
             for n in range(symbols)]
        )  # fmt: skip
        image = LoadedImage("[kernel]", ImageKind.KERNEL, base, base + 64 * symbols, table, 0)
        self._spaces = {0: AddressSpace([image])}
        self._guests = {0: Guest(0, "benchmark", "x86_64", (0, 1, 2, 3))}
        self._stacks = StackTable()
        self._user_spaces = UserSpaces()
        self._table = SampleTable()
        count = samples + 200 * self.FRESH
        pc = np.uint64(base) + (64 * numbers.integers(0, symbols, count)).astype(np.uint64)
        self._all = SampleBatch(
            time=np.arange(count) * 2_500_000,
            pc=pc,
            stack=np.zeros(count, np.uint32),
            task=np.zeros(count, np.uint32),
            guest=np.zeros(count, np.uint16),
            vcpu=(np.arange(count) % 4).astype(np.uint16),
            mode=np.full(count, Mode.KERNEL, np.uint8),
            weight=np.ones(count, np.uint32),
        )
        self._given = 0
        self._give(samples)

    ended = False
    failure = None

    def snapshot(self) -> Profile:
        """What there is, and some more."""
        self._give(self.FRESH)
        facts = SourceFacts("benchmark", "made up", 99.0, 99.0, 10**9)
        return Profile(
            self._table.frozen(),
            facts,
            self._guests,
            self._spaces,
            stacks=self._stacks,
            user_spaces=self._user_spaces,
        )

    def reset(self) -> None:
        """Nothing is forgotten."""

    def _give(self, count: int) -> None:
        part = slice(self._given, self._given + count)
        columns = {name: getattr(self._all, name)[part] for name in COLUMN_TYPES}
        self._table.append(SampleBatch(**columns))
        self._given += count


def looks(symbols: int, samples: int, repeats: int) -> None:
    """Measure looks at a session and the showing of them, for each view."""
    session = Growing(symbols, samples)
    known = Resolution()
    begun = time.process_time()
    take_picture(session, Choice(), known)
    print(f"first look: {1000 * (time.process_time() - begun):.0f} ms, all addresses looked up")
    app = make_app(session, refresh_s=3600, glyphs=BLOCKS)

    async def show() -> None:
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            main = app.screen
            assert isinstance(main, MainScreen)
            for view in (View.TOP, View.TREE, View.FLAME, View.SYMBOLS):
                main.action_view(view)
                # What was asked for while a look was taken is looked at right behind it.
                for _ in range(3):
                    await pilot.pause()
                    await app.workers.wait_for_complete()
                await pilot.pause()
                looked, shown = [], []
                for _ in range(repeats):
                    before = time.thread_time()
                    picture = take_picture(session, main.choice, known)
                    looked.append(1000 * (time.thread_time() - before))
                    before = time.thread_time()
                    main.on_picture_taken(PictureTaken(picture))
                    await pilot.pause(0)
                    shown.append(1000 * (time.thread_time() - before))
                print(
                    f"{view.label:8} look median {statistics.median(looked):7.1f} ms"
                    f"  best {min(looked):7.1f} ms   show median {statistics.median(shown):6.1f} ms"
                    f"  best {min(shown):6.1f} ms"
                )

    asyncio.run(show())


def lateness(seconds: float, pairs: int) -> None:
    """Measure how late samples of the demo guest are without the screen, and with it."""
    if qemu_available() is None:
        print("lateness: qemu-system-x86_64 is not installed")
        return
    late: dict[bool, list[float]] = {False: [], True: []}
    reached: dict[bool, list[float]] = {False: [], True: []}
    for pair in range(pairs):
        for screen in (bool(pair % 2), not pair % 2):
            facts = _sampled(seconds, screen=screen)
            late[screen].append(100 * facts.late / max(facts.taken, 1))
            reached[screen].append(facts.reached_hz)
    for screen, shares in late.items():
        print(
            f"screen {'on ' if screen else 'off'}  late: median {statistics.median(shares):5.2f} %"
            f"  from {min(shares):5.2f} to {max(shares):5.2f} %"
            f"   rate: median {statistics.median(reached[screen]):6.1f} of 499 Hz"
        )
    more = [on - off for off, on in zip(late[False], late[True], strict=True)]
    print(
        f"with the screen {statistics.median(more):+.2f} % of the samples are late, median of"
        f" {pairs} pairs (from {min(more):+.2f} to {max(more):+.2f});"
        f" runs without it differ by {max(late[False]) - min(late[False]):.2f}"
    )


def _sampled(seconds: float, *, screen: bool) -> SourceFacts:
    """Sample a demo guest of its own for a while."""
    with DemoGuest() as guest:
        options = LiveOptions(guest.gdb_address, 499.0, None, None, 100.0)
        live, _ = begin(options, Sources.open(guest.image, None, None), name="demo")
        live.start()
        if screen:
            asyncio.run(_watched(live, seconds))
        else:
            live.wait(seconds)
        facts = live.snapshot().facts
        live.stop()
        live.wait()
        return facts


async def _watched(live: Live, seconds: float) -> None:
    """Look at a session for a while as often as the screen does, going through the views."""
    app = make_app(live, glyphs=BLOCKS)
    async with app.run_test(size=SIZE) as pilot:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await pilot.press("tab")
            await pilot.pause(1.0)


def repaints(rows: int, count: int) -> None:
    """Measure repaints of our table and of Textual's."""

    def reporter(name: str) -> Callable[[str, list[float]], None]:
        def report(what: str, times: list[float]) -> None:
            print(
                f"{name:10} {what:18} median {statistics.median(times):7.2f} ms"
                f"  best {min(times):7.2f} ms"
            )

        return report

    print(f"{rows:,} rows on {SIZE[0]}x{SIZE[1]}, {count} repaints, processor time")
    runs: list[tuple[str, Any]] = [("LineTable", Ours), ("DataTable", Textuals)]
    for name, app in runs:
        job: Coroutine[Any, Any, None] = run(app(rows), count, reporter(name))
        asyncio.run(job)


def main() -> None:
    """Measure what is asked for, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parts = ("repaints", "looks", "lateness")
    parser.add_argument("parts", nargs="*", metavar="|".join(parts), default=list(parts))
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--repaints", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    if unknown := set(given.parts) - set(parts):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if "repaints" in given.parts:
        repaints(given.rows, given.repaints)
    if "looks" in given.parts:
        print(f"\n{given.samples:,} samples of {given.rows:,} symbols, processor time")
        looks(given.rows, given.samples, min(given.repaints, 20))
    if "lateness" in given.parts:
        print()
        lateness(given.seconds, given.pairs)


if __name__ == "__main__":
    main()
