"""That the benchmarks of truth and of cost run; what they measure here says nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.working_guest import COMPILER
from tests.guests.conftest import PATIENCE

_ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.mark.usefixtures("qemu")
@pytest.mark.timeout(PATIENCE)
def test_accuracy_by_construction_and_by_what_was_executed() -> None:
    printed = run("benchmarks.accuracy", "--short", "construction", "execution")
    first, second = printed.split("# execution")
    for row in ("stub, 99 Hz", "stub, 499 Hz", "monitor, 99 Hz", "monitor, 499 Hz"):
        assert first.count(f"\n{row}") == 1, printed
    assert second.count("blocks\n") == 2, printed


@pytest.mark.usefixtures("bootable")
def test_accuracy_by_the_ticks_of_a_guest() -> None:
    printed = run("benchmarks.accuracy", "--short", "ticks")
    assert printed.count(" ticks, by chance ") == 3, printed


@pytest.mark.usefixtures("bootable")
@pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (apt-get install gcc-x86-64-linux-gnu)",
)
def test_slowdown() -> None:
    printed = run("benchmarks.slowdown", "--short")
    rows = [line for line in printed.splitlines() if line.startswith(("proc", "syst", "disk"))]
    assert [line[:13].strip() for line in rows].count("disk writes") == 2, printed
    assert len(rows) == 10, printed
    assert printed.count("  target ") == 6, printed
