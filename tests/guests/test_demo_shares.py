"""Shares that are known by construction, through everything between the guest and a report."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from gprof.attach import attach
from gprof.guest.address import Address
from gprof.live import Live
from gprof.profile.view import Filter, tabulate
from gprof.sampling.source import Mode
from gprof.sampling_way import source_of
from gprof.sources import Sources
from tests.command_line import end, gprof, started
from tests.guests.recordings import await_recording, await_session
from tests.guests.watched_demo import SHARES, WatchedDemo
from tests.monitor import Monitor
from tests.waiting import PATIENCE, patience_for

#: One standard deviation of the largest share is then 0.8 points: 3 points are a wide margin.
ENOUGH = 4000
MARGIN = 3.0
BUSY = Filter(modes=frozenset(Mode) - {Mode.IDLE})
#: A host that is busy itself wakes a resting vcpu late, and takes samples away from busy ones.
IDLE_MARGIN = 20.0


def check_work(shares: Mapping[str, float]) -> None:
    """Compare percentages of busy samples with what the guest was built to do."""
    for name, expected in SHARES["work_percent"].items():
        assert shares.get(name, 0.0) == pytest.approx(expected, abs=MARGIN), shares


def test_live_session_finds_the_shares(demo_guest: WatchedDemo) -> None:
    attached = attach(
        Address.parse(demo_guest.gdb_address), Sources.open(demo_guest.image, None, None)
    )
    source = source_of(attached, hz=499, max_halted=1.0)
    live = Live(source, lambda: ({0: attached.guest}, {0: attached.space}))
    live.start()
    try:
        await_session(
            live,
            lambda profile: (profile.samples.mode == Mode.KERNEL).sum() >= ENOUGH,
            f"{ENOUGH} samples at work",
            patience_for(ENOUGH),
        )
    finally:
        live.stop()
    assert live.wait(PATIENCE)
    assert live.failure is None

    profile = live.snapshot()
    busy = tabulate(profile, BUSY)
    assert busy.samples >= ENOUGH
    assert not busy.unresolved
    check_work({row.label: busy.percent(row.self_weight) for row in busy.rows})

    idle = [100 * (profile.samples.mode[profile.samples.vcpu == i] == Mode.IDLE).mean()
            for i in (0, 1)]  # fmt: skip
    assert idle[0] == pytest.approx(SHARES["idle_percent"]["first_vcpu"], abs=IDLE_MARGIN)
    assert idle[1] == pytest.approx(SHARES["idle_percent"]["other_vcpus"], abs=IDLE_MARGIN)
    assert idle[0] < idle[1]
    resting = tabulate(profile, Filter(modes=frozenset({Mode.IDLE})))
    assert resting.rows[0].symbol == SHARES["idle_function"]


def test_record_and_report_find_the_shares(demo_guest: WatchedDemo, tmp_path: Path) -> None:
    path = tmp_path / "demo.gprof"
    options = ("-F", "499", "--max-halted", "100", "--guestvmlinux", demo_guest.image)
    with (
        Monitor(demo_guest.qmp_address) as monitor,
        started("record", "--gdb", demo_guest.gdb_address, *options, "-o", path) as process,
    ):
        await_recording(
            path,
            lambda profile: tabulate(profile, BUSY).samples >= ENOUGH,
            f"{ENOUGH} samples at work",
            patience_for(ENOUGH),
        )
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()

    report = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    assert report["samples"] >= ENOUGH
    assert report["unresolved"] == {}
    assert report["rate"]["asked"] == 499
    assert 0 < report["halted_percent"] < 100
    check_work({row["symbol"]: row["self_percent"] for row in report["rows"]})


@pytest.mark.usefixtures("qemu")
def test_demo_prints_tables_records_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "demo.gprof"
    # Longer than it takes, on any host: it is told to end.
    with started("demo", "--plain", "-d", "3600", "-o", path) as process:
        await_recording(
            path,
            lambda profile: (
                {row.symbol for row in tabulate(profile).rows} >= SHARES["work_percent"].keys()
            ),
        )
        code, shown, _ = end(process, signal.SIGINT)
    assert code == 0
    assert "checksum_blocks" in shown
    assert "\x1b" not in shown
    assert "samples" in gprof("report", "-i", path).stdout
    again = gprof("demo", "--plain", "-d", "1")
    assert "\x1b" not in again.stdout
