"""What is printed goes to a pipe that is closed early, or to a disk that is full."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from gprof.guest.demo import demo_file
from tests.command_line import PATIENCE

DEMO = str(demo_file("demo.gprof"))

#: Prints by click and by bytes, little and much.
COMMANDS = (
    ("report", "--help"),
    ("report", "-i", DEMO, "--limit", "1"),
    ("annotate", "checksum_blocks", "-i", DEMO),
    ("export", "-i", DEMO, "-f", "html", "-o", "-"),
    ("top", "-i", DEMO, "--plain"),
    ("list", "--json"),
)


def run(words: tuple[str, ...], out: int) -> subprocess.CompletedProcess[str]:
    """A command that writes to a descriptor, which is closed here afterwards."""
    with os.fdopen(out, "wb") as stdout:
        return subprocess.run(
            [sys.executable, "-m", "gprof", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_full_disk_is_told(words: tuple[str, ...]) -> None:
    ran = run(words, os.open("/dev/full", os.O_WRONLY))
    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "gprof: what was to be printed cannot be written: No space left on device",
        "Free some space, or send it to another place.",
    ]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_no_failure(closed: str) -> None:
    program = shlex.join([sys.executable, "-m", "gprof", *COMMANDS[1]])
    ran = subprocess.run(
        ["/bin/sh", "-c", f"{program} {closed}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=PATIENCE,
        check=False,
    )
    assert ran.returncode == 0


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_closed_pipe_is_the_end_and_no_failure(words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = run(words, writing)
    assert (ran.returncode, ran.stderr) == (0, "")
