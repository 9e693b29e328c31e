"""What can happen to a guest while it is sampled: the right words, a whole recording, the code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from gprof.guest.demo import DemoGuest
from gprof.recording.reader import read
from tests.command_line import PCS_ONLY, end, started
from tests.guests.test_monitor_sampling import await_note, await_samples
from tests.monitor import Monitor

#: The sentence of a stub that was stopped by somebody: it does not know by whom.
_BY_SOMEBODY = "Somebody else has stopped the guest"
WAYS = ("stub", "monitor", "both")


class EventfulGuest(DemoGuest):
    """The demo guest with a monitor for the test, and whatever else makes things happen."""

    def __init__(self, *more: str) -> None:
        super().__init__()
        self._more = more

    @property
    def other_address(self) -> str:
        return str(self.directory / "other")

    def extra_arguments(self) -> Sequence[str]:
        return ("-qmp", f"unix:{self.other_address},server=on,wait=off", *self._more)

    def addresses(self, way: str) -> tuple[str, ...]:
        """The options that sample it by a way."""
        stub, monitor = ("--gdb", self.gdb_address), ("--qmp", self.qmp_address)
        return {"stub": stub, "monitor": monitor, "both": stub + monitor}[way]


def recording(guest: EventfulGuest, way: str, path: Path) -> tuple[str | Path, ...]:
    # Whatever stops cost on this host, the way is to stay the one that is tested.
    return ("record", *guest.addresses(way), *PCS_ONLY, "--max-halted", "100", "-o", path)


def is_whole(path: Path) -> bool:
    """Whether a recording was brought to its end."""
    found = read(path)
    return len(found.samples) >= 50 and not any("no end" in note for note in found.facts.notes)


def process_of(monitor: Monitor) -> int:
    thread = monitor.execute("query-cpus-fast")[0]["thread-id"]
    status = Path(f"/proc/{thread}/status").read_text()
    found = re.search(r"^Tgid:\s+(\d+)$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def order(monitor: Monitor, command: str) -> None:
    """Have the monitor for people carry something out."""
    said = monitor.execute("human-monitor-command", **{"command-line": command})
    assert not said.strip(), said


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", WAYS)
def test_qemu_is_killed(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest() as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, way, path)) as process,
    ):
        await_samples(path, 50)
        os.kill(process_of(monitor), signal.SIGKILL)
        code, _, said = end(process)
    assert code == 4
    assert "ended" in said
    assert "what was recorded until now is complete" in said
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", WAYS)
def test_the_guest_shuts_down_and_qemu_ends(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest("-no-reboot") as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, way, path)) as process,
    ):
        await_samples(path, 50)
        with contextlib.suppress(OSError):  # QEMU may be gone before it answers
            monitor.execute("system_reset")
        code, _, said = end(process)
    assert code == 4
    assert "shut down" in said
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", WAYS)
def test_the_guest_shuts_down_and_qemu_stays(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest("-no-reboot", "-no-shutdown") as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, way, path)) as process,
    ):
        await_samples(path, 50)
        monitor.execute("system_reset")
        await_note(path, _BY_SOMEBODY if way == "stub" else "has shut down, and its QEMU stays")
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.execute("query-status")["status"] == "shutdown"
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", WAYS)
def test_the_kernel_panics(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest("-device", "pvpanic,ioport=1285", "-action", "panic=pause") as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, way, path)) as process,
    ):
        await_samples(path, 50)
        order(monitor, "o /b 1285 1")  # what a panicking kernel does (docs/specs/pvpanic.txt)
        await_note(path, _BY_SOMEBODY if way == "stub" else "kernel has panicked")
        assert end(process, signal.SIGINT)[0] == 0
        # In the moment of a sample the stub has let it go, seen that, and stopped it again.
        assert monitor.execute("query-status")["status"] in {"guest-panicked", "paused"}
    assert "GUEST_PANICKED" in {event.name for event in monitor.events}
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
def test_the_guest_sleeps(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest() as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, "monitor", path)) as process,
    ):
        await_samples(path, 50)
        # SLP_EN and SLP_TYP of S3 into PM1a_CNT, where the firmware has put it (ACPI, 4.8.3.2).
        order(monitor, "o /w 0x604 0x2400")
        await_note(path, "The guest sleeps")
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.execute("query-status")["status"] == "suspended"
    assert "SUSPEND" in {event.name for event in monitor.events}
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", ["stub", "both"])
def test_somebody_stops_it_and_lets_it_go(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest() as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, way, path)) as process,
    ):
        await_samples(path, 50)
        monitor.stop()
        await_note(path, _BY_SOMEBODY)
        assert not monitor.is_running()
        monitor.execute("cont")
        await_note(path, "The guest runs again")
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
def test_both_tell_a_reset(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest() as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, "both", path)) as process,
    ):
        await_samples(path, 50)
        monitor.execute("system_reset")
        await_note(path, "The guest was reset")
        await_samples(path, len(read(path).samples) + 100)
        assert end(process, signal.SIGINT)[0] == 0
    assert is_whole(path)


@pytest.mark.usefixtures("qemu")
def test_a_stub_alone_does_not_wake_what_has_moved(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with (
        EventfulGuest() as guest,
        Monitor(guest.other_address) as monitor,
        started(*recording(guest, "stub", path)) as process,
    ):
        await_samples(path, 50)
        monitor.stop()  # as whoever migrates without a break in service would not
        await_note(path, _BY_SOMEBODY)
        monitor.execute("migrate", uri=f"exec:cat >{tmp_path}/moved")
        while monitor.execute("query-status")["status"] != "postmigrate":
            pass
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.execute("query-status")["status"] == "postmigrate"
    assert is_whole(path)
