"""A real terminal to look at: tmux with a shell in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest

from tests.waiting import wait_until

_ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """A terminal of a size with a shell; a context manager.

    Args:
        width: columns.
        height: rows.
        patience: seconds that anything may take to appear.

    Attributes:
        directory: where programs in it put temporary files; short enough for sockets.
    """

    PROMPT = "ready>"

    def __init__(self, width: int, height: int, patience: float = 300.0) -> None:
        program = shutil.which("tmux")
        if program is None:
            pytest.skip("tmux is not installed (apt-get install tmux)")
        self._program = program
        self._size = (width, height)
        self._patience = patience
        self.directory = Path()

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(self.directory),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
            "PS1": self.PROMPT,
            "LC_ALL": "C.UTF-8",
        }
        environment.pop("TMUX", None)
        width, height = (str(n) for n in self._size)
        subprocess.run(
            [
                *self._command("-f", "/dev/null", "new-session"),
                *("-d", "-x", width, "-y", height, "/bin/sh", "-i"),
            ],
            env=environment,
            check=True,
            timeout=self._patience,
        )
        self.wait(lambda screen: self.PROMPT in screen)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(self._command("kill-server"), check=False, timeout=self._patience)
        shutil.rmtree(self.directory, ignore_errors=True)

    def type(self, text: str) -> None:
        """Type characters."""
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names for them."""
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        """What it shows."""
        return self._tmux("capture-pane", "-p")

    def state(self, of: str) -> str:
        """One of tmux's variables, such as `alternate_on`."""
        return self._tmux("display-message", "-p", f"#{{{of}}}").strip()

    def wait(self, condition: Callable[[str], bool]) -> str:
        """Look at the screen until a condition holds; what it then shows."""
        return self._wait(condition, "what the test waits for")

    def wait_for(self, *texts: str) -> str:
        """Wait until all texts are on the screen."""
        return self._wait(lambda screen: all(text in screen for text in texts), repr(texts))

    def _wait(self, condition: Callable[[str], bool], what: str) -> str:
        shown = [""]

        def met() -> bool:
            shown[0] = self.screen()
            return condition(shown[0])

        wait_until(met, f"{what} on the screen", seen=lambda: shown[0], patience=self._patience)
        return shown[0]

    def _command(self, *arguments: str) -> list[str]:
        return [self._program, "-S", str(self.directory / "tmux"), *arguments]

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            self._command(*arguments),
            capture_output=True,
            text=True,
            check=True,
            timeout=self._patience,
        )
        return done.stdout


def processes_below(directory: Path) -> list[str]:
    """Command lines of the processes that name a directory, tmux's own left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has ended
        if str(directory) in line and "tmux" not in line:
            found.append(line)
    return found
