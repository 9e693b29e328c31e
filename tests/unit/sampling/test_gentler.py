"""From the stub to the monitor, where stops cost the guest too much."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.qmp import Qmp
from gprof.profile.stacks import StackTable
from gprof.sampling.gathering import Unstacking
from gprof.sampling.gentler import GentlerSource
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.monitor import MonitorOptions, MonitorSource
from gprof.sampling.source import SampleBatch
from gprof.sampling.stop_work import StopWork
from symbols.unwinding.frame_pointer import FramePointerUnwinder
from tests.qmp_model import QmpModel
from tests.stub_model import StubModel
from tests.unit.sampling.taking import advance, rest, until


class Guest:
    """A stub and a monitor; every stop takes as long as it is told to, by the monitor's events."""

    def __init__(self, directory: Path) -> None:
        self.stub = StubModel(directory / "gdb")
        self.qmp = QmpModel(directory / "qmp")
        self.monitored = MonitoredMachine(Qmp(Address.parse(str(self.qmp.path))))

    def source(self, options: HaltingOptions) -> GentlerSource:
        machine = Machine(Stub(Address.parse(str(self.stub.path)), running=True))
        self.monitored.lend(machine)
        halting = HaltingSource(machine, options, random.Random(1), self.monitored)
        return GentlerSource(halting, lambda: MonitorSource(self.monitored, MonitorOptions(hz=300)))

    def report_stops(self, *lengths_us: int) -> None:
        for length in lengths_us:
            self.qmp.stop(time_us=1_000_000)
            self.qmp.resume(time_us=1_000_000 + length)

    def close(self) -> None:
        self.stub.close()
        self.qmp.close()


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[Guest]:
    guest = Guest(tmp_path)
    yield guest
    guest.close()


def until_asked(
    guest: Guest, batches: Iterator[SampleBatch], source: GentlerSource, count: int
) -> None:
    """Go on until the monitor was asked for registers so many times."""
    until(lambda: guest.qmp.seen.count("info registers -a") >= count, batches, source)


def test_where_the_budget_leaves_little_the_monitor_takes_over(guest: Guest) -> None:
    source = guest.source(HaltingOptions(hz=300, max_halted=0.01, may_hand_over=True))
    source.note("from outside")
    batches = source.batches()
    advance(source, batches, 1)
    assert source.facts().way == "gdbstub"
    guest.report_stops(*[1000] * 100)
    until_asked(guest, batches, source, 10)
    facts = source.facts()
    assert facts.way == "qmp"
    (said,) = [note for note in facts.notes if "the monitor samples from now on" in note]
    assert "a stop costs this guest 1000 µs" in said
    assert said.endswith("within 1 % of the time (--max-halted) that leaves 10 Hz of 300.")
    assert "from outside" in facts.notes
    assert facts.halted_ns == 100_000_000
    assert facts.taken > 10
    stops = guest.stub.stops
    until_asked(guest, batches, source, 20)
    assert guest.stub.stops == stops
    assert guest.stub.soon_runs()
    source.note("and on")
    source.close()
    rest(batches)
    assert source.facts().notes[-1] == "and on"


def test_a_long_stop_in_a_hundred_is_enough_where_latency_counts(guest: Guest) -> None:
    options = HaltingOptions(hz=300, max_halted=1, max_latency_ns=2_000_000, may_hand_over=True)
    source = guest.source(options)
    batches = source.batches()
    next(batches)
    guest.report_stops(*[100] * 110)
    until(lambda: source.facts().halted_ns >= 11_000_000, batches, source)
    assert source.facts().way == "gdbstub"
    guest.report_stops(*[3000] * 3)
    until_asked(guest, batches, source, 5)
    assert any("3.0 ms and longer, more than the 2 ms" in note for note in source.facts().notes)
    source.close()
    rest(batches)


def test_what_qemu_does_around_stops_is_enough(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopWork, "known", True)
    source = guest.source(HaltingOptions(hz=300, max_halted=0.01, may_hand_over=True))
    source._halting._work.ns = 900_000.0
    batches = source.batches()
    next(batches)
    guest.report_stops(*[100] * 20)  # which are too few to be the rule
    until_asked(guest, batches, source, 10)
    facts = source.facts()
    assert any("900 of them in what QEMU does" in note for note in facts.notes)
    stops = source._halting.facts().taken
    assert facts.stop_work_ns == 900_000 * stops
    assert facts.halted_ns >= facts.stop_work_ns
    source.close()
    rest(batches)


@pytest.mark.parametrize("if_cheap", [True, False])
def test_stacks_go_first_unless_somebody_insists(guest: Guest, if_cheap: bool) -> None:
    table = StackTable()
    unstacking = Unstacking(FramePointerUnwinder(), "fp", table.add, 2048)
    source = guest.source(
        HaltingOptions(hz=300, may_hand_over=True, unstacking=unstacking, stacks_if_cheap=if_cheap)
    )
    batches = source.batches()
    next(batches)
    guest.report_stops(*[1000] * 100)
    words = "Call stacks are given up" if if_cheap else "The rate is lowered"
    until(lambda: any(note.startswith(words) for note in source.facts().notes), batches, source)
    assert source.facts().way == "gdbstub"
    source.close()
    rest(batches)


def test_closed_while_it_changes_it_ends(guest: Guest) -> None:
    source = guest.source(HaltingOptions(hz=300, may_hand_over=True))
    batches = source.batches()
    next(batches)
    guest.report_stops(*[1000] * 100)
    source._closing = True  # as another thread does in close(), a moment before the change
    rest(batches)
    assert guest.stub.soon_runs()


def test_without_need_the_stub_goes_on(guest: Guest) -> None:
    source = guest.source(HaltingOptions(hz=300, max_halted=1, may_hand_over=True))
    batches = source.batches()
    guest.report_stops(*[10] * 20)
    advance(source, batches, 30)
    source.close()
    rest(batches)
    assert source.facts().way == "gdbstub"
    assert "info registers -a" not in guest.qmp.seen
