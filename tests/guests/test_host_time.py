"""Vcpus that wait for the host: two of them on one of its processors."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.command_line import end, gprof, started
from tests.guests.recordings import await_samples
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor


@pytest.mark.parametrize("way", ["--gdb", "--qmp"])
def test_steal_is_told_and_counts_for_less(
    demo_guest: WatchedDemo, tmp_path: Path, way: str
) -> None:
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this kernel does not count what threads wait (CONFIG_SCHED_INFO)")
    with Monitor(demo_guest.qmp_address) as monitor:
        # Together they want 120 % of a processor, and get one.
        only = {min(os.sched_getaffinity(0))}
        for vcpu in monitor.execute("query-cpus-fast"):
            os.sched_setaffinity(vcpu["thread-id"], only)
    path = tmp_path / "x.gprof"
    address = demo_guest.gdb_address if way == "--gdb" else demo_guest.qmp_address
    options = ("--weight", "running", "--guestvmlinux", demo_guest.image)
    with started("record", way, address, *options, "-o", path) as process:
        await_samples(path, 600)
        assert end(process, signal.SIGINT)[0] == 0
    report = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    assert [one["vcpu"] for one in report["host"]["vcpus"]] == [0, 1]
    assert report["host"]["steal_percent"] > 1
    assert all(one["ran_s"] > 0 for one in report["host"]["vcpus"])
    # Thousandths of what a sample weighs whose vcpu had its processor all the time.
    weight = sum(row["self"] for row in report["rows"])
    assert report["samples"] * 10 < weight < report["samples"] * 1000
    shown = gprof("report", "-i", path).stdout
    assert "for its processors (steal)" in shown
    assert "Weight" in shown
