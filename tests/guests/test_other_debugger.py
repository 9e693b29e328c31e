"""Others have a hand on the guest before gprof has: debuggers, and whoever did not start it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gprof.guest.demo import demo_file
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from tests.command_line import PATIENCE, PCS_ONLY, end, gprof, started
from tests.guests.recorded_demo import recorded_demo
from tests.guests.recordings import await_recording, await_samples
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor
from tests.waiting import killed_late


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
            with killed_late(gdb):
                while "attached" not in (line := gdb.stdout.readline()):
                    said.append(line)
                    assert line, "".join(said)
            yield gdb
        finally:
            gdb.kill()


def test_gdb_is_attached(demo_guest: WatchedDemo, tmp_path: Path) -> None:
    refused_path, path = tmp_path / "no.gprof", tmp_path / "yes.gprof"
    record = ("record", *demo_guest.addresses("stub"), *PCS_ONLY)
    with Monitor(demo_guest.qmp_address) as monitor:
        with gdb_attached(demo_guest.gdb_address) as gdb:
            assert not monitor.is_running()
            refused = gprof(*record, "-o", refused_path, code=4)
            assert "another debugger is attached" in refused.stderr
            assert "detach" in refused.stderr
            assert not refused_path.exists()
            gdb.communicate("detach\nquit\n", timeout=PATIENCE)
        # By gdb; and the connection that we had given up is taken up, and says goodbye by itself.
        monitor.await_event("RESUME", 2)
        with started(*record, "-o", path) as process:
            await_samples(path, 20)
            assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()


def test_after_a_reset_the_program_has_its_names(demo_guest: WatchedDemo, tmp_path: Path) -> None:
    path = tmp_path / "reset.gprof"
    options = (*PCS_ONLY, "--guestvmlinux", demo_guest.image, "--max-halted", "50", "-o", path)

    def works_again(profile: Profile) -> bool:
        new = profile.samples.time > reset_ns
        later = replace(profile, samples=profile.samples.select(new))
        return {"checksum_blocks", "default_idle"} <= {row.symbol for row in tabulate(later).rows}

    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started("record", *demo_guest.addresses("stub"), *options) as process,
    ):
        await_samples(path, 100)
        before = len(monitor.events)
        monitor.execute("system_reset")
        monitor.await_event("RESET", since=before)
        reset_ns = time.monotonic_ns()
        await_recording(path, works_again)
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()


@pytest.mark.usefixtures("qemu")
def test_a_guest_that_was_not_started_is_waited_for(tmp_path: Path) -> None:
    path, held = tmp_path / "frozen.gprof", "Somebody else has stopped the guest"
    vmlinux = ("--guestvmlinux", demo_file("demo.elf"))
    with recorded_demo(path, "stub", *vmlinux, qemu=("-S",)) as run:
        run.await_note(held)
        run.watch_it_stand()
        assert "RESUME" not in {event.name for event in run.monitor.events}
        run.monitor.execute("cont")
        await_recording(
            path,
            lambda profile: "checksum_blocks" in {row.symbol for row in tabulate(profile).rows},
        )
        code, said = run.ended()
        assert code == 0
        assert run.monitor.is_running()
    assert held in said
