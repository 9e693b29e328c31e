"""Which kind of file an input is, by its first bytes."""

from __future__ import annotations

import contextlib
import sys
from io import BufferedReader
from pathlib import Path
from typing import Literal, TypeAlias

from gprof.errors import FormatError
from gprof.recording.files import open_input
from gprof.recording.format import MAGIC
from symbols.names import printable

InputKind: TypeAlias = Literal["gprof", "perf"]

#: tools/perf/util/header.c: PERFILE2 as a u64 in the byte order of the machine that recorded;
#: until 2012 it was PERFFILE.
_BEGINNINGS: dict[bytes, InputKind] = {
    MAGIC: "gprof",
    b"PERFILE2": "perf",
    b"2ELIFREP": "perf",
    b"PERFFILE": "perf",
}
_LONGEST = max(map(len, _BEGINNINGS))


def kind_of(path: Path) -> InputKind:
    """What a file is, or a directory in which perf keeps several, whatever its name says.

    Raises:
        UsageError: there is no such file.
        PermissionProblem: it may not be read.
        FormatError: gprof reads no such file.
    """
    with contextlib.suppress(OSError):  # which opening it runs into too, and tells
        if path.is_dir():
            if (path / "data").exists():
                return "perf"
            raise FormatError(
                f"{printable(str(path))} is a directory, and none of perf's: it has no file `data`",
                "Give a file that `gprof record` or `perf record` wrote.",
            )
    with open_input(path) as file:
        return _kind(file.read(_LONGEST), str(path))


def kind_of_stdin() -> InputKind:
    """What standard input will give; nothing of it is consumed.

    Raises:
        FormatError: gprof reads no such thing.
    """
    stdin = sys.stdin.buffer
    assert isinstance(stdin, BufferedReader)
    return _kind(stdin.peek(_LONGEST)[:_LONGEST], "standard input")


def _kind(beginning: bytes, name: str) -> InputKind:
    for magic, kind in _BEGINNINGS.items():
        if beginning.startswith(magic):
            return kind
    if not beginning:
        raise FormatError(
            f"{printable(name)} is empty",
            "Whatever should have written it wrote nothing: see what it said on its stderr.",
        )
    raise FormatError(
        f"{printable(name)} is neither a recording of gprof nor a perf.data file",
        "Give a file that `gprof record` or `perf record` wrote.",
    )
