"""Recordings made now by the installed perf, read by us and by `perf script`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gprof.perfdata import PerfData

_WORK = [
    sys.executable,
    "-c",
    "for i in range(40): sum(range(100000)); open('/proc/self/maps').read()",
]
_LINE = re.compile(r"^\s*(-?\d+)/(-?\d+)\s+(\d+)\.(\d{9}):\s+(\S+?):\s+([0-9a-f]+)", re.MULTILINE)


def perf(*arguments: str, output: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    with (output or Path("/dev/null")).open("wb") as sink:
        return subprocess.run(
            ["perf", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=sink if output else subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def recorder() -> None:
    if shutil.which("perf") is None:
        pytest.skip("perf is not installed")
    tried = perf("record", "-e", "cpu-clock", "-o", "/dev/null", "true")
    if tried.returncode:
        pytest.skip(f"perf cannot record here: {tried.stderr.decode()[-200:]}")


@pytest.mark.parametrize(
    ("options", "pipe"),
    [
        (("-e", "cpu-clock"), False),
        (("-e", "cpu-clock", "-g"), True),
        (("-e", "cpu-clock", "-z", "-g", "-d"), False),
        (("-e", "cpu-clock", "-z"), True),
        (("-e", "cpu-clock", "-e", "task-clock", "--sample-cpu", "-T"), True),
        (("-e", "{cpu-clock,task-clock}:S", "--call-graph", "dwarf,1024"), False),
    ],
    ids=str,
)
@pytest.mark.usefixtures("recorder")
def test_fresh_samples_are_those_of_perf_script(
    options: tuple[str, ...], pipe: bool, tmp_path: Path
) -> None:
    path = tmp_path / "perf.data"
    if pipe:
        made = perf("record", "-F", "1999", *options, "-o", "-", "--", *_WORK, output=path)
    else:
        made = perf("record", "-F", "1999", *options, "-o", str(path), "--", *_WORK)
    if made.returncode:
        pytest.skip(f"this perf does not record {options}: {made.stderr.decode()[-200:]}")
    script = perf("script", "--ns", "-G", "-F", "pid,tid,time,event,ip", "-i", str(path))
    told = Counter(
        (int(m[1]), int(m[2]), int(m[3] + m[4]), int(m[6], 16))
        for m in _LINE.finditer(script.stdout.decode())
    )
    found: Counter[tuple[int, int, int, int]] = Counter()
    with PerfData.open(path) as data:
        for chunk in data.chunks():
            for s in chunk:
                columns = (s.pid, s.tid, s.time, s.ip)
                found.update(zip(*(column.tolist() for column in columns), strict=True))
        assert (data.problems, data.damaged, data.unattributed) == ([], 0, 0)
    assert told.total() > 20
    if ":S" in options[1]:  # perf shows such a sample once for each counter of its group
        assert set(found) == set(told)
    else:
        assert found == told
