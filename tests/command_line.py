"""gprof as a process of its own, as people run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import needed, over

_ROOT = Path(__file__).resolve().parents[1]
_OURS = {"PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}

#: Seconds after which a command hangs: far more than any needs on a crowded machine.
PATIENCE = 300.0
#: A quick rate, and no stop in which the guest waits for us.
PCS_ONLY = ("-F", "200", "--call-graph", "none")


def gprof(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and check its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "gprof", *arguments],
        env={**os.environ, **_OURS},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == code, (done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    assert "Traceback" not in done.stderr
    return done


@contextmanager
def started(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A command that is still running; killed at the end if it then still is.

    Until `end`, whatever a test waits for ends with it.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "gprof", *arguments],
        env={**os.environ, **_OURS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            with needed(process):
                yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str], number: int | None = None) -> tuple[int, str, str]:
    """Send a signal, wait for the end: exit code, stdout, stderr."""
    over(process)
    if number is not None:
        process.send_signal(number)
    out, error = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in error, error
    return process.returncode, out, error
