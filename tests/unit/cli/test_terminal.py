"""Where screens can be shown."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest

from gprof.cli.terminal import can_draw
from gprof.guest.demo import demo_file
from tests.command_line import PATIENCE


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("term", "draws"), [("xterm-256color", True), ("dumb", False), (None, True)]
)
def test_a_dumb_terminal_gets_lines(
    term: str | None, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if term is None:
        monkeypatch.delenv("TERM", raising=False)
    else:
        monkeypatch.setenv("TERM", term)
    assert can_draw(Terminal()) is draws
    assert can_draw(Terminal(), Terminal()) is draws
    assert not can_draw(Terminal(), io.StringIO())


def test_top_prints_its_table_there_and_ends() -> None:
    words = ("top", "-i", str(demo_file("demo.gprof")))
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gprof", *words],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**os.environ, "TERM": "dumb", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(inside)
    shown = b""
    try:
        while some := os.read(terminal, 65536):
            shown += some
    except OSError:  # it has ended
        pass
    finally:
        os.close(terminal)
    assert process.wait(PATIENCE) == 0, shown
    assert b"checksum_blocks" in shown
    assert b"\x1b" not in shown
