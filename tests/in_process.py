"""The command line in this process: what a person would type, and what they would see."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from gprof.cli.main import main


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said.

    Attributes:
        code: how it ended.
        out: on stdout.
        err: on stderr.
    """

    code: int
    out: str
    err: str


def gprof(*arguments: object, stdin: Any = None, out: io.BytesIO | None = None) -> Said:
    """Run one command to its end.

    Args:
        arguments: what follows `gprof`.
        stdin: a binary file to read from.
        out: takes stdout; somebody may be watching it.
    """
    out, err = out or io.BytesIO(), io.BytesIO()
    with _streams(out, err, stdin), patch.object(sys, "argv", ["gprof", *map(str, arguments)]):
        code = main()
    return Said(code, out.getvalue().decode(), err.getvalue().decode())


@contextmanager
def _streams(out: io.BytesIO, err: io.BytesIO, stdin: Any) -> Iterator[None]:
    given = io.TextIOWrapper(io.BufferedReader(stdin or io.BytesIO()))
    written = [io.TextIOWrapper(stream, "utf-8", write_through=True) for stream in (out, err)]
    with (
        patch.object(sys, "stdin", given),
        patch.object(sys, "stdout", written[0]),
        patch.object(sys, "stderr", written[1]),
    ):
        yield
    for stream in written:
        stream.detach()
    if not given.buffer.closed:  # a file that could be sought is closed by its reader
        given.detach().detach()
