"""Others have a hand on the guest too: debuggers, the monitor, whoever ends QEMU."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gprof.guest.demo import DemoGuest
from gprof.guest.emulator import Emulator
from gprof.recording.reader import read
from tests.command_line import PATIENCE, PCS_ONLY, end, gprof, started
from tests.guests.test_monitor_sampling import await_samples
from tests.monitor import Monitor

#: How gprof says that it waits.
HELD = "Somebody else has stopped the guest"


@contextmanager
def gdb_attached(address: str) -> Iterator[subprocess.Popen[str]]:
    """A gdb that holds the stub, the guest stopped, until its stdin says more."""
    program = shutil.which("gdb") or shutil.which("gdb-multiarch")
    if program is None:
        pytest.skip("gdb is not installed (apt-get install gdb)")
    with subprocess.Popen(
        [program, "-nx", "-q", "-ex", f"target remote {address}", "-ex", "echo attached\\n"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as gdb:
        try:
            assert gdb.stdout is not None
            said = []
            while "attached" not in (line := gdb.stdout.readline()):
                said.append(line)
                assert line, "".join(said)
            yield gdb
        finally:
            gdb.kill()


def recording(guest: Emulator, path: Path) -> tuple[str | Path, ...]:
    return ("record", "--gdb", guest.gdb_address, *PCS_ONLY, "-o", path)


def await_hold(path: Path, monitor: Monitor) -> None:
    """Wait until gprof has written down that it waits; the guest must not run meanwhile."""
    while not (path.exists() and path.stat().st_size and HELD in notes(path)):
        assert not monitor.is_running()
        time.sleep(0.01)  # a file announces itself to nobody; pytest's timeout bounds this
    # gprof asks a held guest four times a second, and must leave it as it is each time.
    for _ in range(1000):
        assert not monitor.is_running()


def notes(path: Path) -> str:
    return "\n".join(read(path).facts.notes)


def test_gdb_is_attached(demo_guest: DemoGuest, tmp_path: Path) -> None:
    with Monitor(demo_guest.qmp_address) as monitor:
        with gdb_attached(demo_guest.gdb_address) as gdb:
            assert not monitor.is_running()
            refused = gprof(*recording(demo_guest, tmp_path / "no.gprof"), code=4)
            assert "another debugger is attached" in refused.stderr
            assert "detach" in refused.stderr
            assert not (tmp_path / "no.gprof").exists()
            gdb.communicate("detach\nquit\n", timeout=PATIENCE)
        # The connection that we had given up is taken up now, and says goodbye by itself.
        monitor.await_event("RESUME")
        path = tmp_path / "yes.gprof"
        gprof(*recording(demo_guest, path), "-d", "1")
        assert monitor.is_running()
    assert len(read(path).samples)


def test_stopped_by_the_monitor_it_is_held_and_goes_on(
    demo_guest: DemoGuest, tmp_path: Path
) -> None:
    path = tmp_path / "held.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started(*recording(demo_guest, path)) as process,
    ):
        await_samples(path, 300)
        monitor.stop()
        await_hold(path, monitor)
        monitor.execute("cont")
        monitor.await_event("STOP", 100)
        code, _, said = end(process, signal.SIGINT)
        assert code == 0
        assert monitor.is_running()
    assert HELD in said
    assert "The guest runs again" in said
    facts = read(path).facts
    assert facts.held_ns > 0
    assert facts.taken >= 100


def test_ended_while_the_guest_is_held_it_stays_stopped(
    demo_guest: DemoGuest, tmp_path: Path
) -> None:
    path = tmp_path / "held.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started(*recording(demo_guest, path)) as process,
    ):
        await_samples(path, 300)
        monitor.stop()
        await_hold(path, monitor)
        assert end(process, signal.SIGTERM)[0] == 0
        assert not monitor.is_running()
    assert len(read(path).samples)


def test_qemu_goes_away(demo_guest: DemoGuest, tmp_path: Path) -> None:
    path = tmp_path / "gone.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started(*recording(demo_guest, path)) as process,
    ):
        await_samples(path, 300)
        with contextlib.suppress(OSError):  # it may be gone before it answers
            monitor.execute("quit")
        code, _, said = end(process)
    assert code == 4
    assert "ended" in said
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert report["samples"] >= 100


def test_the_guest_is_reset(demo_guest: DemoGuest, tmp_path: Path) -> None:
    path = tmp_path / "reset.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started(
            *recording(demo_guest, path), "--guestvmlinux", demo_guest.image, "--max-halted", "50"
        ) as process,
    ):
        await_samples(path, 100)
        monitor.execute("system_reset")
        monitor.await_event("RESET")
        await_samples(path, len(read(path).samples) + 400)
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert report["rows"][0]["symbol"] in {"checksum_blocks", "default_idle"}


class FrozenDemo(DemoGuest):
    """The demo guest, not started yet."""

    def extra_arguments(self) -> tuple[str, ...]:
        return ("-S",)


@pytest.mark.usefixtures("qemu")
def test_a_guest_that_was_not_started_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "frozen.gprof"
    with (
        FrozenDemo() as guest,
        Monitor(guest.qmp_address) as monitor,
        started(*recording(guest, path), "--guestvmlinux", guest.image) as process,
    ):
        await_hold(path, monitor)
        monitor.execute("cont")
        await_samples(path, 600)
        code, _, said = end(process, signal.SIGINT)
        assert code == 0
        assert monitor.is_running()
    assert HELD in said
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert "checksum_blocks" in {row["symbol"] for row in report["rows"]}
