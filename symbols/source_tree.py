"""The text of a program's source files, where they are at hand."""

from __future__ import annotations

import os
import re
import stat
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from symbols.errors import SymbolsError
from symbols.names import printable

#: Languages of kernels, firmware and boot loaders. A file that names anything else as its source
#: does not get it shown.
_SUFFIX = re.compile(r"\.([csiChH]|S|cc|cpp|cxx|hh|hpp|hxx|inc|asm|lds|rs|go|zig|pas|pp)")
_LARGEST = 16 << 20
_LONGEST_LINE = 400
_MOST_KEPT = 64
_TAB = 8


class SourceTree:
    """Looks source files up in directories, whatever path the compiler was given.

    Args:
        directories: where sources are. Of a path `a/b/c.c` the longest end that exists in one of
            them is taken: `a/b/c.c`, `b/c.c`, `c.c`.
        mapped: beginnings of the compiler's paths, and what stands in their place here.

    Raises:
        SymbolsError: a directory does not exist.
    """

    def __init__(
        self, directories: Sequence[Path] = (), mapped: Sequence[tuple[str, str]] = ()
    ) -> None:
        for directory in directories:
            if not directory.is_dir():
                raise SymbolsError(
                    f"{printable(str(directory))} is no directory of sources",
                    "Give the directory that was unpacked, such as linux-6.1.",
                )
        self._directories = [directory.resolve() for directory in directories]
        self._mapped = sorted(mapped, key=lambda pair: -len(pair[0]))
        self._texts: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def line(self, file: str, number: int) -> str | None:
        """One line of a file, safe to show, tabs made spaces; None where it is not at hand.

        Args:
            file: its path as the compiler was given it.
            number: counted from 1.
        """
        text = self._texts.get(file)
        if text is None:
            text = self._texts[file] = self._read(file)
            while len(self._texts) > _MOST_KEPT:
                self._texts.popitem(last=False)
        return text[number - 1] if 0 < number <= len(text) else None

    def path(self, file: str) -> Path | None:
        """Where a file is on this machine; None where it is not at hand.

        Args:
            file: its path as the compiler was given it.
        """
        return self._find(file)

    def _read(self, file: str) -> tuple[str, ...]:
        path = self._find(file)
        data = _content(path) if path is not None else None
        if data is None:
            return ()
        return tuple(
            printable(line[:_LONGEST_LINE].decode("utf-8", "replace").expandtabs(_TAB).rstrip())
            for line in data.split(b"\n")
        )

    def _find(self, file: str) -> Path | None:
        if "\0" in file or not _SUFFIX.fullmatch(Path(file).suffix):
            return None
        for before, here in self._mapped:
            if file.startswith(before):
                path = Path(here + file[len(before) :])
                if path.is_file():
                    return path
        path = Path(file)
        if path.is_absolute() and path.is_file():
            return path
        # Up the path where it goes up: what is left must be below the directory.
        parts = [part for part in os.path.normpath(file).split("/") if part not in {"", ".", ".."}]
        for first in range(len(parts)):
            for directory in self._directories:
                path = directory.joinpath(*parts[first:])
                if path.is_file() and path.resolve().is_relative_to(directory):
                    return path
        return None


def parse_map(text: str) -> tuple[str, str]:
    """A mapping of build paths, `FROM=TO`.

    Raises:
        SymbolsError: it is none.
    """
    before, equals, here = text.partition("=")
    if not equals or not before or not here:
        raise SymbolsError(
            f"{printable(text)!r} maps no path to another",
            "Give FROM=TO, such as --source-map /build/linux-6.1=/home/me/linux.",
        )
    return before, here


def _content(path: Path) -> bytes | None:
    """The bytes of a regular file of a bearable size; None for anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as stream:
        known = os.fstat(fd)
        if not stat.S_ISREG(known.st_mode) or known.st_size > _LARGEST:
            return None
        try:
            return stream.read(_LARGEST)
        except OSError:
            return None
