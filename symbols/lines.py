"""Source lines and inlined calls of a file's addresses, by whatever can tell them here."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile

from symbols.elf import Image
from symbols.errors import ImageError
from symbols.lines_by_drgn import Drgn
from symbols.lines_by_program import Addr2line, Symbolizer, find_addr2line, find_symbolizer
from symbols.lines_cache import LineCache
from symbols.names import printable
from symbols.notes import gnu_build_id
from symbols.source_frames import Chain, Finder, FinderFailed, SourceFrame

__all__ = ["Chain", "SourceFrame", "SourceLines"]

_INSTALL = "install llvm-symbolizer (package llvm), addr2line (binutils) or drgn (pip)"
_TABLES = {b".debug_line", b".zdebug_line"}
_MOST_SECTIONS = 1 << 16
_LONGEST_NAME = 16
_LONGEST_NOTES = 64 << 10


class SourceLines:
    """The source lines of one ELF file.

    What is found is remembered, and kept on disk where there is a cache. Nothing is opened or
    started before the first address is asked for that is not remembered. Any thread may ask; they
    wait for one another.

    Args:
        path: of the file, which has debugging information; where it is missing or something
            else, what a cache has is all that is known.
        build_id: that the file must have, if it has any; without one nothing is kept on disk.
        cache: where chains are kept.
    """

    def __init__(self, path: str, build_id: bytes = b"", cache: LineCache | None = None) -> None:
        self._path = path
        self._build_id = build_id
        self._cache = cache
        self._known: dict[int, Chain] = {}
        self._finders: Iterator[Finder] | None = None
        self._finder: Finder | None = None
        self._refusals: list[str] = []
        self._closed = False
        self._lock = threading.Lock()

    @property
    def by(self) -> str:
        """What answers now; empty where nothing was asked yet, or nothing can answer."""
        return self._finder.name if self._finder is not None else ""

    @property
    def why(self) -> str:
        """Why nothing answers; empty where something does, or nothing was asked."""
        return "; ".join(self._refusals) if self._finder is None else ""

    def find(self, addresses: Iterable[int]) -> dict[int, Chain]:
        """The chain of each address, innermost function first; empty where nothing is known.

        Costs by the number of distinct addresses, most for those far from any asked before.

        Args:
            addresses: of the file's link; of a relocatable file those of `Image`'s layout.
        """
        distinct = sorted(set(addresses))
        with self._lock:
            missing = [address for address in distinct if address not in self._known]
            if missing and self._cache is not None:
                self._known |= self._cache.get(self._build_id, missing)
                missing = [address for address in missing if address not in self._known]
            if missing:
                self._ask(missing)
            return {address: self._known.get(address, ()) for address in distinct}

    def close(self) -> None:
        """End what was started, at once: a thread that waits for an answer gets none.

        What is asked afterwards is answered from memory.
        """
        self._closed = True
        finder = self._finder
        if finder is not None:
            finder.stop()
        with self._lock:
            if self._finder is not None:
                self._finder.close()
            self._finder, self._finders = None, iter(())

    def _ask(self, addresses: list[int]) -> None:
        if self._finders is None:
            self._finders = self._available()
            self._finder = next(self._finders, None)
        while self._finder is not None and not self._closed:
            try:
                found = dict(zip(addresses, self._finder.find(addresses), strict=True))
            except FinderFailed as failed:
                self._refusals.append(str(failed))
                self._finder.close()
                self._finder = None if self._closed else next(self._finders, None)
                continue
            self._known |= found
            # A file without debugging information must not hide one that has it.
            if self._cache is not None and any(found.values()):
                self._cache.put(self._build_id, found)
            return
        if not self._closed:
            self._known |= dict.fromkeys(addresses, ())

    def _available(self) -> Iterator[Finder]:
        """What can tell lines of this file, the best first: measured in decision 7."""
        try:
            header = _header(self._path, self._build_id)
        except FinderFailed as failed:
            self._refusals.append(str(failed))
            return
        image = None
        if header.relocatable:
            try:
                image = Image.open(self._path)
            except ImageError as error:
                self._refusals.append(error.problem)
                return
        symbolizer, addr2line = find_symbolizer(), find_addr2line()
        attempts: list[Callable[[], Finder]] = [
            lambda: Drgn(
                self._path, header.machine, little_endian=header.little_endian, image=image
            )
        ]
        if symbolizer is not None and image is None:  # of sections it knows nothing
            attempts.insert(0, lambda: Symbolizer(symbolizer, self._path))
        if addr2line is not None:
            attempts.append(lambda: Addr2line(addr2line, self._path, image))
        for attempt in attempts:
            try:
                finder = attempt()
            except FinderFailed as failed:
                self._refusals.append(str(failed))
            else:
                yield finder
        self._refusals.append(_INSTALL)


@dataclass(frozen=True, slots=True)
class _Header:
    """What must be known of a file before anybody is asked about it."""

    machine: str
    little_endian: bool
    relocatable: bool


def _header(path: str, build_id: bytes) -> _Header:
    """Look at a file.

    Args:
        path: of the file.
        build_id: that it must have; empty for any.

    Raises:
        FinderFailed: it has no tables of lines, or is another file.
    """
    shown = printable(path)
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  fails alike for a path with a NUL
            elf = ELFFile(stream)
            header = _Header(elf["e_machine"], elf.little_endian, elf["e_type"] == "ET_REL")
            names, found = set(), b""
            for name, kind, notes in _sections(elf):
                names.add(name)
                if kind == "SHT_NOTE":
                    found = found or gnu_build_id(notes, little_endian=elf.little_endian)
    except FileNotFoundError:
        raise FinderFailed(f"{shown} does not exist here") from None
    except (
        OSError, ValueError, ELFError, KeyError, TypeError, AttributeError, IndexError,
        OverflowError, struct.error,
    ):  # fmt: skip
        raise FinderFailed(f"{shown} is no ELF file that can be read") from None
    if build_id and found and found != build_id:
        raise FinderFailed(f"{shown} is of another build")
    if not _TABLES & names:
        raise FinderFailed(f"{shown} has no debugging information")
    return header


def _sections(elf: ELFFile) -> Iterator[tuple[bytes, str, bytes]]:
    """Name and kind of every section, and what notes hold.

    Headers only: pyelftools' objects of some kinds of sections read what a hostile file says.
    """
    first, step = elf["e_shoff"], elf["e_shentsize"]
    count = min(elf.num_sections(), _MOST_SECTIONS)
    headers = [
        struct_parse(elf.structs.Elf_Shdr, elf.stream, stream_pos=first + i * step)
        for i in range(count)
    ]
    strings = elf.get_shstrndx()
    for header in headers if strings < count else ():
        elf.stream.seek(headers[strings]["sh_offset"] + header["sh_name"])
        name = elf.stream.read(_LONGEST_NAME).split(b"\0", 1)[0]
        notes = b""
        if header["sh_type"] == "SHT_NOTE":
            elf.stream.seek(header["sh_offset"])
            notes = elf.stream.read(min(header["sh_size"], _LONGEST_NOTES))
        yield name, header["sh_type"], notes
