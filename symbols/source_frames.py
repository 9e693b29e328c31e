"""Where in a program's source an instruction comes from, and who can tell."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from symbols.names import printable

#: Frames at one address; deeper inlining than this exists in no compiler's output.
MOST_INLINED = 64
_LARGEST_LINE = 1 << 31
#: What gcc and clang add to the names of functions that they split or specialise.
_COPY = re.compile(r"(?:\.(?:part|constprop|isra|cold|lto_priv|llvm)(?:\.\d+)?)+$")


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """A line of a function's source.

    Attributes:
        function: its name, safe to show; empty where unknown.
        file: as the compiler was given it, without the directory it was called in where that is
            recorded; safe to show.
        line: counted from 1; 0 where unknown.
    """

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line or '?'}"


#: The functions inlined at one address, innermost first; the last is the one that has the code.
#: Empty where nothing is known.
Chain = tuple[SourceFrame, ...]


class FinderFailed(Exception):
    """A finder cannot be used, or not any more; the message says why."""


class Finder(Protocol):
    """Tells chains of one file's addresses. One thread at a time, but for `stop`."""

    #: What answers: the name of a program or a library.
    name: str

    def find(self, addresses: Sequence[int]) -> list[Chain]:
        """The chain of each address.

        Args:
            addresses: of the file's link; see `symbols.elf.Image` for relocatable files.

        Raises:
            FinderFailed: it does not answer, or not sensibly.
        """
        ...

    def stop(self) -> None:
        """Have `find`, which another thread may wait in, fail soon. Any thread may call it."""
        ...

    def close(self) -> None:
        """End what was started."""
        ...


def frame(function: object, file: object, line: object) -> SourceFrame | None:
    """A frame from what a finder says; None where it says nothing.

    Finders repeat what is in a file that anybody may have written: everything is checked.
    """
    name = _source_name(function) if isinstance(function, str) and function != "??" else ""
    path = _path(file) if isinstance(file, str) and file not in {"", "??"} else ""
    number = line if isinstance(line, int) and 0 < line < _LARGEST_LINE else 0
    return SourceFrame(name, path, number) if path else None


@lru_cache(maxsize=4096)
def _source_name(function: str) -> str:
    """A function's name as its source has it: without what the compiler says of its copy."""
    return _COPY.sub("", printable(function))


@lru_cache(maxsize=4096)
def _path(file: str) -> str:
    """A path without detours, so that what two finders say of one file is the same."""
    return printable(posixpath.normpath(file))
