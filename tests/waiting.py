"""Waiting for what announces itself to nobody, with an end that says what did not come.

A wait ends when what a test waits for is there; when a process that it needs has ended, with what
that has said; and after so long that it will not come.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

#: Seconds after which what is waited for will not come: many times what it takes on a host that
#: has far more to do than it can.
PATIENCE = 120.0

#: The least rate that a guest is sampled at, whatever else its host does.
_SLOWEST_HZ = 10

#: Processes that tests have started and that are to run until a test ends them.
_running: list[subprocess.Popen[Any]] = []


def wait_until(
    condition: Callable[[], object],
    what: str,
    *,
    seen: Callable[[], object] = lambda: "",
    patience: float = PATIENCE,
    pause: float = 0.05,
) -> None:
    """Look again and again until a condition holds.

    Args:
        condition: looks.
        what: is waited for.
        seen: what there is instead, asked for at the end.
        patience: seconds until it will not come.
        pause: seconds between two looks.

    Raises:
        AssertionError: it does not come.
    """
    end = Deadline(what, seen, patience)
    while not condition():
        end.check()
        time.sleep(pause)


def patience_for(samples: int) -> float:
    """How long so many samples may take, in seconds."""
    return PATIENCE + samples / _SLOWEST_HZ


class Deadline:
    """The end of a wait that a test makes by itself: call `check` each time that it looks.

    Args:
        what: is waited for.
        seen: what there is instead, asked for at the end.
        patience: seconds until it will not come.
    """

    def __init__(
        self, what: str, seen: Callable[[], object] = lambda: "", patience: float = PATIENCE
    ) -> None:
        self._what = what
        self._seen = seen
        self._patience = patience
        self._end = time.monotonic() + patience

    def check(self) -> None:
        """Nothing, as long as it may come.

        Raises:
            AssertionError: it does not come.
        """
        for process in _running:
            assert process.poll() is None, f"{self._what}: not any more, {_last_words(process)}"
        late = time.monotonic() > self._end
        assert not late, f"{self._what}: not within {self._patience:.0f} s. {self._seen()}"


def _last_words(process: subprocess.Popen[Any]) -> str:
    try:
        out, error = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:  # something that it has started still has its stderr
        out = error = ""
    said = "".join(str(words)[-2000:] for words in (out, error) if words)
    return f"{process.args!r} has ended by {process.returncode}: {said}"


@contextmanager
def needed(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Have waits end when a process does, until `over` or for as long as the context lasts."""
    _running.append(process)
    try:
        yield
    finally:
        over(process)


def over(process: subprocess.Popen[Any]) -> None:
    """Let a process end without a wait ending."""
    if process in _running:
        _running.remove(process)


@contextmanager
def killed_late(process: subprocess.Popen[Any], patience: float = PATIENCE) -> Iterator[None]:
    """Kill a process that one reads from if that takes too long, so that reading ends."""
    timer = threading.Timer(patience, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
