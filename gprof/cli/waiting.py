"""A word on stderr when something takes longer than people expect."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

_PATIENCE_S = 1.0


@contextmanager
def telling_if_slow(sentence: str) -> Iterator[None]:
    """Say on stderr what is being done, if it is not done within a second."""
    timer = threading.Timer(_PATIENCE_S, click.echo, [sentence], {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
