"""VM exits of real recordings against what `perf kvm stat report` printed of them."""

from __future__ import annotations

import io
import lzma
import re
from pathlib import Path

import pytest

from gprof.perfdata import PerfData
from gprof.profile.exits import ExitGroup, ExitReader, ExitSort, ExitTable, exit_table
from gprof.sampling.exit_events import ExitEvent

FIXTURES = Path(__file__).parents[2] / "fixtures" / "perf"
_HEADER = re.compile(r"^## perf kvm stat report ?(.*)$", re.MULTILINE)
_ROW = re.compile(
    r"^\s*(\S.*?)\s+(\d+)\s+([\d.]+)%\s+([\d.]+)%\s+([\d.]+)us\s+([\d.]+)us\s+([\d.]+)us"
    r" \( \+-\s+([\d.]+)% \)",
    re.MULTILINE,
)
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


def test_a_pipe_that_perf_itself_cannot_report_is_counted() -> None:
    table = measured("kvmstat-pipe", ExitEvent.VMEXIT, (ExitGroup.REASON,))
    assert table.events == 2152
    assert [row.reason for row in table.rows[:3]] == ["msr", "interrupt", "vintr"]
