"""Ending a live session by a signal."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gprof.live import Live


@contextmanager
def ending_gently(live: Live) -> Iterator[threading.Event]:
    """Let Ctrl-C and SIGTERM end the session; a second one ends the program.

    Yields:
        What is set when one of them came.
    """
    came = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        came.set()
        live.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else 0)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
