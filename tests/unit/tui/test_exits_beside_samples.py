"""VM exits that are counted beside a source that is still giving samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from textual.pilot import Pilot

from gprof.errors import GprofError, PermissionProblem
from gprof.exit_watch import ExitWatch
from gprof.exits_on_demand import ExitsOnDemand
from gprof.profile.exit_table import ExitGroup, ExitTable
from gprof.sampling.source import SampleBatch
from tests.screen_text import screen_text
from tests.screens import press, with_app
from tests.sessions import FrozenSession, frozen
from tui.app import GprofApp
from tui.screens.main import MainScreen
from tui.view import View


class Counting:
    """No exits yet; tells how often it was asked for them."""

    def __init__(self) -> None:
        self.asked = 0

    def count(self, _: Sequence[ExitGroup]) -> ExitTable:
        self.asked += 1
        return ExitTable((), 0, 0, 0, 0, "host")

    def names(self) -> Mapping[int, str]:
        return {}


def test_nothing_is_counted_before_somebody_looks() -> None:
    exits = Counting()
    session = FrozenSession(replace(frozen(), samples=SampleBatch.empty()), ended=False)

    async def scenario(app: GprofApp, main: MainScreen, pilot: Pilot[GprofError]) -> None:
        assert main.choice.view is View.TOP
        await press(pilot, "T t")
        assert exits.asked == 0
        await press(pilot, "x")
        assert exits.asked > 0
        assert "No exits yet." in screen_text(app)

    with_app(scenario, session, exits=exits)


def test_why_they_cannot_be_counted_is_told() -> None:
    def refuse() -> ExitWatch:
        raise PermissionProblem("perf may not record here", "Run gprof as root.")

    async def scenario(app: GprofApp, _: MainScreen, pilot: Pilot[GprofError]) -> None:
        await press(pilot, "x")
        assert " perf may not record here\n Run gprof as root." in screen_text(app)
        await press(pilot, "t")
        assert "perf may not record" not in screen_text(app)

    exits = ExitsOnDemand(refuse)
    with_app(scenario, FrozenSession(frozen(), ended=False), exits=exits)
