"""Sampling through the monitor: right shares, and one test for everything a monitor reports."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.demo import DemoGuest
from gprof.guest.emulator import Emulator
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.process_memory import ProcessMemory
from gprof.guest.qmp import Qmp
from gprof.recording.reader import read
from symbols.memory import MemoryFault
from tests.command_line import end, gprof, started
from tests.guests.linux import LinuxGuest
from tests.guests.test_demo_shares import check_work
from tests.monitor import Monitor


class TwoMonitors(DemoGuest):
    """The demo guest with a second monitor, for the test beside the one that gprof holds."""

    @property
    def other_address(self) -> str:
        return str(self.directory / "other")

    def extra_arguments(self) -> tuple[str, ...]:
        return ("-qmp", f"unix:{self.other_address},server=on,wait=off")


@pytest.fixture
def guest(qemu: None) -> TwoMonitors:
    return TwoMonitors()


def recording(guest: Emulator, path: Path, *more: str) -> tuple[str | Path, ...]:
    return ("record", "--qmp", guest.qmp_address, "-F", "200", "-o", path, *more)


def await_samples(path: Path, count: int) -> None:
    """Wait until so many samples are on disk; pytest's timeout bounds this."""
    while not (path.exists() and path.stat().st_size and len(read(path).samples) >= count):
        time.sleep(0.05)


def await_note(path: Path, words: str) -> None:
    while not any(words in note for note in read(path).facts.notes):
        time.sleep(0.05)


def test_the_monitor_finds_the_shares(demo_guest: DemoGuest, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    options = ("-F", "199", "--guestvmlinux", demo_guest.image)
    with started("record", "--qmp", demo_guest.qmp_address, *options, "-o", path) as process:
        await_samples(path, 7000)  # more than half of them busy
        assert end(process, signal.SIGINT)[0] == 0
    report = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    assert report["samples"] >= 3000
    assert report["unresolved"] == {}
    check_work({row["symbol"]: row["self_percent"] for row in report["rows"]})
    facts = read(path).facts
    assert (facts.way, facts.halted_ns, facts.errors) == ("qmp", 0, 0)


def test_the_guest_is_not_stopped(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with guest, Monitor(guest.other_address) as monitor:
        gprof(*recording(guest, path, "-d", "1"), "--guestvmlinux", guest.image)
        assert monitor.is_running()
        assert monitor.events == []
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert report["halted_percent"] == 0
    assert report["unresolved"] == {}
    assert "checksum_blocks" in {row["symbol"] for row in report["rows"]}


def test_stop_and_cont(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, path)) as process,
    ):
        await_samples(path, 50)
        monitor.stop()
        await_note(path, "Somebody else has stopped the guest")
        assert not monitor.is_running()
        monitor.execute("cont")
        await_note(path, "The guest runs again")
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()
        assert [event.name for event in monitor.events] == ["STOP", "RESUME"]
    assert read(path).facts.held_ns > 0


def test_ended_while_it_stands_it_stays_so(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, path)) as process,
    ):
        await_samples(path, 50)
        monitor.stop()
        await_note(path, "Somebody else has stopped the guest")
        assert end(process, signal.SIGTERM)[0] == 0
        assert not monitor.is_running()


def test_reset(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, path), "--guestvmlinux", guest.image) as process,
    ):
        await_samples(path, 50)
        monitor.execute("system_reset")
        await_note(path, "The guest was reset")
        await_samples(path, len(read(path).samples) + 100)
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()


@pytest.mark.parametrize("both", [False, True], ids=["qmp", "gdb and qmp"])
def test_quit(guest: TwoMonitors, tmp_path: Path, both: bool) -> None:
    path = tmp_path / "x.gprof"
    with guest, Monitor(guest.other_address) as monitor:
        more = ("--gdb", guest.gdb_address) if both else ()
        with started(*recording(guest, path, *more)) as process:
            await_samples(path, 50)
            with contextlib.suppress(OSError):  # it may be gone before it answers
                monitor.execute("quit")
            code, _, said = end(process)
    assert code == 4
    assert "shut down" in said or "ended" in said
    assert len(read(path).samples) >= 50


@pytest.mark.parametrize("both", [False, True], ids=["qmp", "gdb and qmp"])
def test_migrated_to_a_file(guest: TwoMonitors, tmp_path: Path, both: bool) -> None:
    path = tmp_path / "x.gprof"
    with guest, Monitor(guest.other_address) as monitor:
        more = ("--gdb", guest.gdb_address) if both else ()
        with started(*recording(guest, path, *more)) as process:
            await_samples(path, 50)
            monitor.execute("migrate", uri=f"exec:cat >{tmp_path}/moved")
            await_note(path, "runs elsewhere")
            # It has moved: a second copy that ran here would be the worst that we could do.
            for _ in range(200):
                assert monitor.execute("query-status")["status"] == "postmigrate"
            assert end(process, signal.SIGINT)[0] == 0
            left_as = monitor.execute("query-status")["status"]
    assert left_as == "postmigrate"
    assert len(read(path).samples) >= 50


def test_both_know_the_exact_time_of_stops(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with guest, Monitor(guest.other_address) as monitor:
        gprof(*recording(guest, path, "--gdb", guest.gdb_address, "-d", "1", "--max-halted", "99"))
        assert monitor.is_running()
        stops = [event for event in monitor.events if event.name in {"STOP", "RESUME"}]
    starts, ends = stops[::2], stops[1::2]
    assert all(event.name == "STOP" for event in starts)
    total_us = sum(b.time_us - a.time_us for a, b in zip(starts, ends, strict=True))
    facts = read(path).facts
    # The last stop, the farewell, comes after the books are closed.
    assert 0.5 * total_us <= facts.halted_ns / 1000 <= total_us


def test_where_stops_take_too_long_the_monitor_goes_on(guest: TwoMonitors, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with guest, Monitor(guest.other_address) as monitor:
        more = ("--gdb", guest.gdb_address, "--call-graph", "none", "--max-halted", "100")
        with started(*recording(guest, path, *more, "--max-halt-latency", "0.001")) as process:
            await_samples(path, 50)
            await_note(path, "the monitor samples from now on")
            monitor.execute("query-status")
            stops = len(monitor.events)
            await_samples(path, len(read(path).samples) + 200)
            monitor.execute("query-status")
            # One of them may have been on its way when the note was written.
            assert len(monitor.events) <= stops + 4
            assert end(process, signal.SIGINT)[0] == 0
            assert monitor.is_running()
    facts = read(path).facts
    assert facts.way == "qmp"
    assert any("--max-halt-latency" in note for note in facts.notes)
    assert facts.halted_ns > 0


def test_a_stub_is_opened_when_needed_and_closed_as_found(demo_guest: DemoGuest) -> None:
    with Monitor(demo_guest.qmp_address) as monitor:
        monitor.execute("human-monitor-command", **{"command-line": "gdbserver none"})
        before = {one["label"] for one in monitor.execute("query-chardev")}
    machine = MonitoredMachine(Qmp(Address.parse(demo_guest.qmp_address)))
    seen = (machine.stops_it, bool(machine.register("rip")), machine.stops_it)
    assert seen == (False, True, True)
    machine.run_state.ask()
    assert machine.run_state.running
    assert machine.run_state.stopped_ns > 0
    machine.close()
    with Monitor(demo_guest.qmp_address) as monitor:
        assert {one["label"] for one in monitor.execute("query-chardev")} == before
        assert monitor.is_running()


def test_a_stub_that_is_there_is_used_and_left(demo_guest: DemoGuest) -> None:
    for _ in range(2):
        machine = MonitoredMachine(Qmp(Address.parse(demo_guest.qmp_address)))
        assert machine.register("rip")
        machine.close()
    stub = Stub(Address.parse(demo_guest.gdb_address))
    assert not stub.held
    stub.close()


def test_own_memory_is_what_the_stub_reads(linux_guest: LinuxGuest) -> None:
    """Walks of our own through a Linux kernel's tables, against the emulator's."""
    client = Qmp(Address.parse(linux_guest.qmp_address))
    try:
        monitored = MonitoredMachine(client)
        assert monitored.why_packets is None
        stub = Stub(Address.parse(linux_guest.gdb_address), running=True)
        try:
            theirs = Machine(stub).memory
            addresses = [int(line.split()[0], 16) for line in
                         linux_guest.kallsyms.read_text().splitlines()
                         if line.split()[1] in "tT"]  # fmt: skip
            agreed = 0
            for address in random.Random(4).sample(addresses, 60):
                try:
                    expected = theirs.read(address, 16)
                except MemoryFault:
                    continue  # text of the start, given back since
                assert monitored.memory.read(address, 16) == expected
                agreed += 1
            assert agreed > 40
        finally:
            stub.close()
        monitored.close()
    finally:
        client.close()


def test_physical_memory_is_what_the_monitor_reads(demo_guest: DemoGuest) -> None:
    client = Qmp(Address.parse(demo_guest.qmp_address))
    client.execute("stop")
    memory = ProcessMemory.open(client)
    rng = random.Random(5)
    for address in [0x100000 + rng.randrange(0xE00000) & ~7 for _ in range(50)] + [0xFFFFFFF0]:
        said = client.human_monitor(f"xp /8xb {address:#x}").split(":", 1)[1]
        assert memory.read(address, 8) == bytes(int(byte, 16) for byte in said.split())
    memory.close()
    client.close()
