"""However gprof ends, the guest runs afterwards."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gprof.recording.reader import read
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_samples
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor
from tests.waiting import PATIENCE, killed_late, wait_until

KILLS = 200


@pytest.mark.timeout(600)
def test_killed_at_any_moment_the_guest_runs(demo_guest: WatchedDemo) -> None:
    rng = random.Random()
    ends: Counter[str] = Counter()
    longest = 100.0
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        subprocess.Popen(
            [sys.executable, "-m", "tests.guests.victims", demo_guest.gdb_address],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as killer,
    ):
        assert killer.stdin is not None
        assert killer.stdout is not None
        for _ in range(KILLS):
            # Connecting is over soon, and is where a guest stands still: half of them go there.
            killer.stdin.write(f"{rng.uniform(0, longest) * rng.choice([1, 1, 0.2, 0.05])}\n")
            killer.stdin.flush()
            with killed_late(killer):
                came = killer.stdout.readline().strip()
            assert came, "the victim or its guard has not ended"
            ends[came] += 1
            # Nothing that could still resume the guest is alive: it must run by now.
            assert monitor.is_running(), ends
            # On a slow machine a victim needs longer until it samples; that is to be killed too.
            if came != "sampling" and ends["sampling"] < sum(ends.values()) / 4:
                longest = min(longest * 1.05, 3000)
        killer.stdin.close()
        assert killer.wait(PATIENCE) == 0
        assert monitor.is_running()
    print(f"killed while {dict(ends)}; up to {longest:.0f} ms after the fork")  # noqa: T201 - evidence
    assert sum(ends.values()) == KILLS
    assert ends.keys() <= {"starting", "connecting", "preparing", "sampling"}
    assert ends["connecting"] + ends["preparing"] >= KILLS / 20
    assert ends["sampling"] >= KILLS / 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_end_a_recording_is_complete(
    demo_guest: WatchedDemo, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "ended.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started("record", "--gdb", demo_guest.gdb_address, *PCS_ONLY, "-o", path) as process,
    ):
        await_samples(path, 250)
        code, _, said = end(process, number)
        assert code == 0
        assert str(path) in said
        assert monitor.is_running()
    profile = read(path)
    assert len(profile.samples) >= 100
    assert len(profile.samples) == 2 * profile.facts.taken
    assert not any("end" in note for note in profile.facts.notes)


def test_killed_a_recording_keeps_what_was_written(demo_guest: WatchedDemo, tmp_path: Path) -> None:
    path = tmp_path / "killed.gprof"
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started("record", "--gdb", demo_guest.gdb_address, *PCS_ONLY, "-o", path) as process,
    ):
        await_samples(path, 1)
        end(process, signal.SIGKILL)
        # The guard is nobody's child now, so its end cannot be awaited; but what it does can.
        wait_until(monitor.is_running, "a guest that runs")
    profile = read(path)
    assert len(profile.samples)
    assert "no end" in profile.facts.notes[-1]
