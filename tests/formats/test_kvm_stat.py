"""VM exits of real recordings against what `perf kvm stat report` printed of them."""

from __future__ import annotations

import csv
import io
import json
import lzma
import re
from pathlib import Path
from typing import Any, cast

import pytest

from gprof.perfdata import PerfData
from gprof.profile.exit_summary import ExitGroup, ExitSort, ExitTable
from gprof.profile.exits import ExitReader, exit_table
from gprof.sampling.exit_events import ExitEvent
from tests.in_process import gprof
from tests.perf_fixtures import FIXTURES, guest_mount, unpacked

_HEADER = re.compile(r"^## perf kvm stat report ?(.*)$", re.MULTILINE)
_ROW = re.compile(
    r"^\s*(\S.*?)\s+(\d+)\s+([\d.]+)%\s+([\d.]+)%\s+([\d.]+)us\s+([\d.]+)us\s+([\d.]+)us"
    r" \( \+-\s+([\d.]+)% \)",
    re.MULTILINE,
)
ROW_KEYS = [
    *("guest", "vcpu", "reason", "symbol", "count", "share_percent", "total_ns", "time_percent"),
    *("min_ns", "max_ns", "mean_ns", "deviation_percent", "p50_ns", "p99_ns"),
]
_TOTAL = re.compile(r"Total Samples:(\d+), Total events handled time:([\d.]+)us")


def report(name: str, options: str) -> str:
    """The part of perf's reports that was made with these options."""
    pieces = _HEADER.split((FIXTURES / f"{name}.stat-report.txt").read_text())
    if len(pieces) == 1:  # perf's default, its three events one after another
        index = {"": 0, "--event=mmio": 1, "--event=ioport": 2}[options]
        return pieces[0].split("Analyze events")[index + 1]
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))[options]


def measured(name: str, event: ExitEvent, by: tuple[ExitGroup, ...]) -> ExitTable:
    data = lzma.decompress((FIXTURES / f"{name}.data.xz").read_bytes())
    reader = ExitReader(PerfData.from_file(io.BytesIO(data)), event)
    for _ in reader.read():
        pass
    return exit_table(reader.exits(), reader.reasons(), by=by, sort=ExitSort.COUNT)


@pytest.mark.parametrize(
    ("name", "options", "event"),
    [
        ("two-kvmstat", "", ExitEvent.VMEXIT),
        ("two-kvmstat", "--event=mmio", ExitEvent.MMIO),
        ("two-kvmstat", "--event=ioport", ExitEvent.IOPORT),
        ("x-mixed", "", ExitEvent.VMEXIT),
        ("x-mixed", "--event=mmio", ExitEvent.MMIO),
        ("x-mixed", "--event=ioport", ExitEvent.IOPORT),
    ],
)
def test_all_figures_are_those_of_perf(name: str, options: str, event: ExitEvent) -> None:
    text = report(name, options)
    table = measured(name, event, (ExitGroup.REASON,))
    ours = [
        (
            row.reason,
            str(row.count),
            f"{row.share_percent:.2f}",
            f"{row.time_percent:.2f}",
            f"{row.min_ns / 1000:.2f}",
            f"{row.max_ns / 1000:.2f}",
            f"{row.mean_ns / 1000:.2f}",
            f"{row.deviation_percent:.2f}",
        )
        for row in table.rows
    ]
    assert ours == _ROW.findall(text)
    assert _TOTAL.findall(text) == [(str(table.events), f"{table.total_ns / 1000:.2f}")]


@pytest.mark.parametrize("vcpu", [0, 1])
def test_a_vcpu_s_counts_are_those_of_perf(vcpu: int) -> None:
    """Of all guests together perf counts the vcpus of that number, and prints no minimum."""
    theirs = {
        row[0]: int(row[1])
        for row in _ROW.findall(report("two-kvmstat", f"--event=vmexit --vcpu={vcpu}"))
    }
    ours: dict[str, int] = {}
    table = measured("two-kvmstat", ExitEvent.VMEXIT, (ExitGroup.VCPU, ExitGroup.REASON))
    for row in table.rows:
        if row.vcpu == vcpu:
            ours[row.reason] = ours.get(row.reason, 0) + row.count
    assert ours == theirs


def test_guests_together_are_what_perf_counts_of_each_alone() -> None:
    table = measured("two-kvmstat", ExitEvent.VMEXIT, (ExitGroup.VM,))
    ours = sorted(row.count for row in table.rows)
    theirs = sorted(
        int(_TOTAL.findall(report("two-kvmstat", f"--event=vmexit -p {pid}"))[0][0])
        for pid in (848, 851)
    )
    assert ours == theirs


def stat(directory: Path, name: str, *options: str) -> dict[str, Any]:
    """What `gprof stat --json` prints of a recording."""
    said = gprof("stat", "-i", unpacked(name, directory), "--json", *options)
    assert said.code == 0
    # Recorded without `-c 1`: perf counts what there is and says nothing.
    assert ("not every event was recorded" in said.err) == (name == "x-mixed")
    content = json.loads(said.out)
    assert list(content) == ["events", "unpaired", "lost", "rows"]
    assert all(list(row) == ROW_KEYS for row in content["rows"])
    return cast("dict[str, Any]", content)


def as_perf_prints(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            row["reason"],
            str(row["count"]),
            f"{row['share_percent']:.2f}",
            f"{row['time_percent']:.2f}",
            *(f"{row[key] / 1000:.2f}" for key in ("min_ns", "max_ns", "mean_ns")),
            f"{row['deviation_percent']:.2f}",
        )
        for row in rows
    ]


@pytest.mark.parametrize("name", ["two-kvmstat", "x-mixed"])
@pytest.mark.parametrize("event", ["vmexit", "mmio", "ioport"])
def test_the_command_prints_the_figures_of_perf(name: str, event: str, tmp_path: Path) -> None:
    options = "" if event == "vmexit" else f"--event={event}"
    content = stat(tmp_path, name, f"--event={event}", "--sort=count")
    assert as_perf_prints(content["rows"]) == _ROW.findall(report(name, options))
    events, time = _TOTAL.findall(report(name, options))[0]
    assert content["events"] == int(events)
    assert f"{sum(row['total_ns'] for row in content['rows']) / 1000:.2f}" == time
    assert content["lost"] == 0


@pytest.mark.parametrize("pid", [848, 851])
def test_a_vm_s_rows_are_those_of_perf_for_it_alone(pid: int, tmp_path: Path) -> None:
    """But for the shares: perf's are of that VM, ours of all that is shown."""
    content = stat(tmp_path, "two-kvmstat", "--by=vm,reason", "--sort=count")
    mine = [row for row in content["rows"] if row["guest"] == f"pid {pid}"]
    theirs = _ROW.findall(report("two-kvmstat", f"--event=vmexit -p {pid}"))
    absolute = (0, 1, 4, 5, 6, 7)
    assert [[row[i] for i in absolute] for row in as_perf_prints(mine)] == [
        [row[i] for i in absolute] for row in theirs
    ]


@pytest.mark.parametrize("vcpu", [0, 1])
def test_a_vcpu_s_rows_are_those_of_perf(vcpu: int, tmp_path: Path) -> None:
    """Of all VMs perf adds up the vcpus of that number, and its minimum is always 0.00."""
    content = stat(tmp_path, "two-kvmstat", "--by=vm,vcpu,reason")
    ours: dict[str, list[int]] = {}
    for row in content["rows"]:
        if row["vcpu"] == vcpu:
            one = ours.setdefault(row["reason"], [0, 0])
            one[0] += row["count"]
            one[1] = max(one[1], row["max_ns"])
    theirs = _ROW.findall(report("two-kvmstat", f"--event=vmexit --vcpu={vcpu}"))
    assert {name: (str(n), f"{most / 1000:.2f}") for name, (n, most) in ours.items()} == {
        row[0]: (row[1], row[5]) for row in theirs
    }
    assert {row[4] for row in theirs} == {"0.00"}


def test_exits_are_told_by_the_function_that_causes_them(tmp_path: Path) -> None:
    mount = guest_mount(tmp_path / "mount")
    content = stat(tmp_path, "two-kvmstat", "--by=reason,symbol", f"--guestmount={mount}")
    msr = {row["symbol"]: row["count"] for row in content["rows"] if row["reason"] == "msr"}
    assert max(msr, key=lambda name: msr[name]) == "native_write_msr"
    by_reason = stat(tmp_path, "two-kvmstat", "--by=reason")
    assert sum(msr.values()) == next(
        row["count"] for row in by_reason["rows"] if row["reason"] == "msr"
    )
    assert all(row["symbol"] is None for row in by_reason["rows"])
    # Without symbols the exits are counted all the same.
    unnamed = stat(tmp_path, "two-kvmstat", "--by=symbol")
    assert [(row["symbol"], row["count"]) for row in unnamed["rows"]] == [(None, 3834)]
    wrong = gprof(
        *("stat", "-i", tmp_path / "two-kvmstat.data", "--by", "symbol"),
        *("--guestkallsyms", mount / "185" / "proc" / "kallsyms"),
    )
    assert wrong.code == 5
    assert "another boot or another guest" in wrong.err


def test_text_and_csv_have_the_same_rows(tmp_path: Path) -> None:
    path = unpacked("two-kvmstat", tmp_path)
    rows = stat(tmp_path, "two-kvmstat", "--by=vm,vcpu,reason")["rows"]
    told = gprof("stat", "-i", path, "--by=vm,vcpu,reason", "--csv")
    lines = list(csv.DictReader(told.out.splitlines()))
    assert [(r["guest"], int(r["vcpu"]), r["reason"], int(r["total_ns"])) for r in lines] == [
        (r["guest"], r["vcpu"], r["reason"], r["total_ns"]) for r in rows
    ]
    text = gprof("stat", "-i", path, "--by=vm,vcpu,reason", "--limit=3").out.splitlines()
    shown = [line for line in text if not line.startswith("#")]
    assert len(shown) == 3
    assert shown[0].split()[:5] == ["pid", "851", "0", "interrupt", "394"]
    assert text[0] == ("# 3834 exits, 12618.566 ms of time outside the guest; 4 unpaired, 0 lost")
    assert text[-1] == f"# {len(rows) - 3} more rows are not shown"


def test_wrong_use_is_told(tmp_path: Path) -> None:
    path = unpacked("default-name", tmp_path)
    none = gprof("stat", "-i", path)
    assert none.code == 0
    assert "the recording has no events for vmexit: record with `perf kvm stat record" in none.out
    assert gprof("stat", "-i", path, "--json").err.startswith("# note: the recording has no")
    assert "give either -i or --perf" in gprof("stat").err
    assert "cannot be kept apart by" in gprof("stat", "-i", path, "--by=colour").err
    assert "has no events hcall" in gprof("stat", "-i", path, "--event=hcall").err
    assert gprof("stat", "-i", tmp_path / "none").code == 2
    assert "without --perf" in gprof("stat", "-i", path, "-p", "1").err
    recorded = FIXTURES.parent / "recordings" / "v1.0.gprof"
    assert "has samples and no VM exits" in gprof("stat", "-i", recorded).err


def test_a_pipe_that_perf_itself_cannot_report_is_counted() -> None:
    table = measured("kvmstat-pipe", ExitEvent.VMEXIT, (ExitGroup.REASON,))
    assert table.events == 2152
    assert [row.reason for row in table.rows[:3]] == ["msr", "interrupt", "vintr"]
