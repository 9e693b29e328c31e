"""Whether there is a terminal that can do more than print lines."""

from __future__ import annotations

import os
from typing import TextIO


def can_draw(*streams: TextIO) -> bool:
    """Whether all of these are a terminal on which text can be written over.

    `TERM=dumb` says that it cannot: a shell inside Emacs, the log of a build.
    """
    return os.environ.get("TERM") != "dumb" and all(stream.isatty() for stream in streams)
