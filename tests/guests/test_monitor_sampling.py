"""Sampling through the monitor: right shares, no stops, and memory read beside it."""

from __future__ import annotations

import itertools
import json
import random
import signal
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.demo import demo_file
from gprof.guest.emulated_vcpus import EmulatedVcpus
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.guest.monitor_registers import Reading, readings
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.process_memory import ProcessMemory
from gprof.guest.qmp import Qmp
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.recording.reader import read
from symbols.memory import MemoryFault
from tests.command_line import end, gprof, started
from tests.guests.linux import LinuxGuest
from tests.guests.recorded_demo import recorded_demo
from tests.guests.recordings import await_recording
from tests.guests.test_demo_shares import BUSY, ENOUGH, check_work
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor
from tests.waiting import Deadline, patience_for


def test_the_monitor_finds_the_shares(demo_guest: WatchedDemo, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    # A vcpu that the host puts aside is seen at the same pc again and again: on a crowded host
    # such samples say little, and shares by the clock on the wall vary.
    options = ("-F", "199", "--weight", "running", "--guestvmlinux", demo_guest.image)

    def is_enough(profile: Profile) -> bool:
        busy = tabulate(profile, BUSY)
        return busy.samples >= ENOUGH and busy.weight >= 1000 * ENOUGH // 2

    with started("record", "--qmp", demo_guest.qmp_address, *options, "-o", path) as process:
        await_recording(path, is_enough, f"{ENOUGH} samples at work", patience_for(2 * ENOUGH))
        assert end(process, signal.SIGINT)[0] == 0
    report = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    assert report["samples"] >= ENOUGH
    assert report["unresolved"] == {}
    check_work({row["symbol"]: row["self_percent"] for row in report["rows"]})
    facts = read(path).facts
    assert (facts.way, facts.halted_ns, facts.errors) == ("qmp", 0, 0)


@pytest.mark.usefixtures("qemu")
def test_the_guest_is_not_stopped(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with recorded_demo(path, "monitor", "--guestvmlinux", demo_file("demo.elf")) as run:
        await_recording(
            path,
            lambda profile: "checksum_blocks" in {row.symbol for row in tabulate(profile).rows},
        )
        assert run.ended()[0] == 0
        assert run.monitor.is_running()
    assert run.monitor.events == []
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert report["halted_percent"] == 0
    assert report["unresolved"] == {}


@pytest.mark.usefixtures("qemu")
def test_both_know_the_exact_time_of_stops(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with recorded_demo(path, "both") as run:
        run.await_more(200)
        assert run.ended()[0] == 0
        assert run.monitor.is_running()
        stops = [event for event in run.monitor.events if event.name in {"STOP", "RESUME"}]
    starts, ends = stops[::2], stops[1::2]
    assert all(event.name == "STOP" for event in starts)
    took_us = [b.time_us - a.time_us for a, b in zip(starts, ends, strict=True)]
    sums = list(itertools.accumulate(took_us))
    # The last stop, the farewell, comes after the books are closed, however long it is.
    facts = read(path).facts
    assert facts.halted_ns - facts.stop_work_ns in {1000 * sum_us for sum_us in sums[-20:-1]}
    assert facts.stop_work_ns > 0


@pytest.mark.usefixtures("qemu")
def test_where_stops_take_too_long_the_monitor_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with recorded_demo(path, "both", "--max-halt-latency", "0.001") as run:
        run.await_note("the monitor samples from now on")
        run.monitor.is_running()
        stops = len(run.monitor.events)
        run.await_more(200)
        assert run.monitor.is_running()
        # One of them may have been on its way when the note was written.
        assert len(run.monitor.events) <= stops + 4
        assert run.ended()[0] == 0
        assert run.monitor.is_running()
    facts = read(path).facts
    assert facts.way == "qmp"
    assert any("--max-halt-latency" in note for note in facts.notes)
    assert facts.halted_ns > 0


def test_a_stub_is_opened_when_needed_and_closed_as_found(demo_guest: WatchedDemo) -> None:
    with Monitor(demo_guest.qmp_address) as monitor:
        monitor.human("gdbserver none")
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


def test_a_stub_that_is_there_is_used_and_left(demo_guest: WatchedDemo) -> None:
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
            rows = [line.split() for line in linux_guest.kallsyms.read_text().splitlines()]
            place = {row[2]: int(row[0], 16) for row in rows}
            # The text of the start was given back since; who has it now may write to it.
            gone = range(place["__init_begin"], place["__init_end"])
            text = [int(row[0], 16) for row in rows if row[1] in "tT"]
            addresses = [address for address in text if address not in gone]
            agreed = 0
            for address in random.Random(4).sample(addresses, 60):
                try:
                    expected = theirs.read(address, 16)
                except MemoryFault:
                    continue  # that of a module
                assert monitored.memory.read(address, 16) == expected
                agreed += 1
            assert agreed > 40
        finally:
            stub.close()
        monitored.close()
    finally:
        client.close()


def test_physical_memory_is_what_the_monitor_reads(demo_guest: WatchedDemo) -> None:
    client = Qmp(Address.parse(demo_guest.qmp_address))
    client.execute("stop")
    memory = ProcessMemory.open(client)
    rng = random.Random(5)
    for address in [0x100000 + rng.randrange(0xE00000) & ~7 for _ in range(50)] + [0xFFFFFFF0]:
        said = client.human_monitor(f"xp /8xb {address:#x}").split(":", 1)[1]
        assert memory.read(address, 8) == bytes(int(byte, 16) for byte in said.split())
    memory.close()
    client.close()


@pytest.mark.usefixtures("qemu")
def test_registers_in_qemus_memory_are_those_that_it_prints() -> None:
    names = ("pc", "rsp", "rbp", "r15", "cr0", "cr3", "cr4", "gs base", "level", "management")
    with WatchedDemo() as guest, Monitor(guest.other_address) as monitor:
        client = Qmp(Address.parse(guest.qmp_address))
        memory = ProcessMemory.open(client)

        def ask() -> dict[int, Reading]:
            return readings(monitor.human("info registers -a"), "x86_64")

        deadline = Deadline("the registers in QEMU's memory")
        while (vcpus := EmulatedVcpus.find(memory, ask)) is None:
            deadline.check()  # all vcpus may have moved each time
        for _ in range(20):
            monitor.execute("stop")
            said, found = ask(), vcpus.read()
            assert found.keys() == said.keys() == {0, 1}
            for vcpu, read in found.items():
                assert {name: read(name) for name in names} == {
                    name: said[vcpu](name) for name in names
                }
            monitor.execute("cont")
        memory.close()
        client.close()


@pytest.mark.usefixtures("qemu")
def test_an_emulated_guest_is_sampled_without_asking_qemu() -> None:
    with WatchedDemo() as guest:
        machine = MonitoredMachine(Qmp(Address.parse(guest.qmp_address)))
        deadline = Deadline("the registers in QEMU's memory")
        while not machine.registers_from_memory:
            deadline.check()
            machine.sample((0, 1))
        deadline = Deadline("samples of vcpus at work, and of some that idle")
        modes: set[Mode] = set()
        while not modes >= {Mode.KERNEL, Mode.IDLE}:  # on a busy host it stands still for a while
            deadline.check()
            looked = machine.sample((0, 1)).sampled
            modes |= {one.state.mode for one in looked if one.state is not None}
        assert modes == {Mode.KERNEL, Mode.IDLE}
        machine.close()
