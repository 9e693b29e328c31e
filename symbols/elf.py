"""One ELF file: a kernel with its symbols, a module, firmware, a bare-metal program."""

from __future__ import annotations

import bisect
import os
import re
import stat
import struct
import weakref
from functools import cached_property
from typing import IO, Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.elffile import ELFFile

from symbols.elf_sections import Section, laid_out, text_ranges
from symbols.elf_symbols import ENTRY_SIZE, ElfSymbols, SectionColumns
from symbols.errors import ImageError
from symbols.file_kinds import HEAD, looks_like
from symbols.memory import MemoryFault
from symbols.names import printable
from symbols.notes import gnu_build_id
from symbols.table import SymbolTable

#: A kernel has under a hundred sections; e_shnum alone can claim 2^64.
_MOST_HEADERS = 1 << 16
_LARGEST_READ = 64 << 20
_LARGEST_NOTES = 1 << 20
#: As the kernel names them.
ARCHITECTURES = {
    "EM_X86_64": "x86_64",
    "EM_386": "i386",
    "EM_AARCH64": "aarch64",
    "EM_S390": "s390x",
    "EM_PPC64": "ppc64",
    "EM_RISCV": "riscv64",
}
_BANNER = re.compile(rb"Linux version (\S{1,128}) ")
#: What pyelftools and the formats below it raise on bytes that make no sense.
MALFORMED = (
    ELFError, struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError,
    OverflowError, OSError, EOFError, MemoryError,
)  # fmt: skip
_WITH_SYMBOLS = (
    "Give the file before it was stripped: for a distribution's kernel the vmlinux of its -dbg "
    "or debuginfo package, for a module its .ko.debug."
)


class Image:
    """An ELF file with symbols; `open` gives one.

    A relocatable file (a .ko) has no link addresses: its loaded sections are laid out from 0 as
    the kernel's loader does, executable ones first (kernel/module/main.c, layout_sections), so
    that the slide of its text is the module's base address.

    Attributes:
        path: as it was given.
        architecture: `x86_64`, `aarch64`, `s390x`, `riscv64`, `ppc64`, `i386`, or else the
            file's own name for it.
        bits: 32 or 64.
        little_endian: byte order of its data.
        build_id: the GNU build id; empty where there is none.
        entry: link address of its first instruction; 0 where it has none.
        notes: link address and size of the notes that hold the build id, where they are part
            of the running program.
        relocatable: a .ko or .o.
        sections: all of them, in file order.
        text_ranges: where instructions are, as (start, end) of link addresses, ascending.
            Init text is included: its symbols have sizes, and a guest that boots runs it.
    """

    def __init__(self, path: str, fd: int, *, dynamic: bool = False) -> None:
        self.path = path
        self._dynamic = dynamic
        self._fd = fd
        self._close = weakref.finalize(self, os.close, fd)
        self._file_size = os.fstat(fd).st_size
        with open(fd, "rb", closefd=False) as stream:
            try:
                self._read_structure(stream)
            except MALFORMED as malformed:
                raise ImageError(
                    f"{path} is damaged or cut short: {printable(str(malformed))}",
                    "Copy it again and compare the sizes.",
                ) from None

    def reopened(self) -> IO[bytes]:
        """The file once more, to be closed by whoever asks; for what only a library can read."""
        return open(os.dup(self._fd), "rb")  # noqa: PTH123 - a descriptor, not a path

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, dynamic: bool = False) -> Image:
        """The ELF file at `path`.

        Args:
            path: of the file.
            dynamic: of a stripped file take the symbols that other files use, as a library has.

        Raises:
            ImageError: it is missing, unreadable, no ELF file, cut short, or without symbols.
        """
        shown = printable(os.fspath(path))
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise ImageError(f"{shown} does not exist", "Check the path.") from None
        except (OSError, ValueError) as refused:
            reason = refused.strerror if isinstance(refused, OSError) else str(refused)
            raise ImageError(f"{shown} cannot be read: {reason}", "") from None
        try:
            _check_file(shown, fd)
        except BaseException:
            os.close(fd)
            raise
        return cls(shown, fd, dynamic=dynamic)

    @cached_property
    def table(self) -> SymbolTable:
        """Its functions and the labels among them, at link addresses."""
        return self._symbols.functions()

    @cached_property
    def objects(self) -> SymbolTable:
        """Its variables and constants, at link addresses."""
        return self._symbols.objects()

    @property
    def text(self) -> tuple[int, int]:
        """The largest of `text_ranges`, or an empty range."""
        return max(self.text_ranges, key=lambda r: r[1] - r[0], default=(0, 0))

    def address_of(self, name: str) -> int | None:
        """Link address of the symbol `name`, data included; a global one where several are."""
        return self._symbols.address_of(name)

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)

    def read(self, address: int, size: int) -> bytes:
        """The file's own bytes at link addresses; see `symbols.memory.Memory.read`.

        What has no bytes in the file (.bss) is a fault.
        """
        if not 0 <= size <= _LARGEST_READ:
            raise MemoryFault(address, size)
        found = bytearray()
        while len(found) < size:
            at = address + len(found)
            i = bisect.bisect_right(self._piece_starts, at) - 1
            if i < 0:
                raise MemoryFault(address, size)
            start, length, offset = self._pieces[i]
            part = min(size - len(found), start + length - at)
            data = os.pread(self._fd, part, offset + at - start) if part > 0 else b""
            # Shorter where the file was cut after it was opened.
            if part <= 0 or len(data) != part:
                raise MemoryFault(address, size)
            found += data
        return bytes(found)

    def content(self, section: Section) -> bytes:
        """The bytes of a section, loaded or not; none where it has none, or the file was cut."""
        if not section.in_file or section.offset + section.size > self._file_size:
            return b""
        return os.pread(self._fd, section.size, section.offset)

    @cached_property
    def banner(self) -> bytes:
        """The text of `linux_banner`, without its final zero; empty if this is no Linux."""
        address = self.address_of("linux_banner")
        if address is None:
            return b""
        for size in (1024, 512, 256, 128):
            try:
                text = self.read(address, size).split(b"\0", 1)[0]
            except MemoryFault:
                continue
            return text if _BANNER.match(text) else b""
        return b""

    @property
    def linux_release(self) -> str | None:
        """What `uname -r` prints in a guest that runs it; None if this is no Linux kernel."""
        return release_of(self.banner)

    def _read_structure(self, stream: IO[bytes]) -> None:
        elf = ELFFile(stream)
        self.bits: int = elf.elfclass
        self.little_endian: bool = elf.little_endian
        machine = str(elf["e_machine"])
        self.architecture = ARCHITECTURES.get(machine, printable(machine.removeprefix("EM_")))
        self.relocatable = elf["e_type"] == "ET_REL"
        self.entry: int = elf["e_entry"]
        sections = self._read_sections(elf)
        self.sections = laid_out(sections) if self.relocatable else tuple(s for s, _ in sections)
        segments = self._read_segments(elf)
        self.text_ranges = text_ranges(self.sections, segments)
        self._find_pieces(segments)
        self.notes: tuple[int, int] | None = None
        self.build_id = b""
        self._find_build_id(segments)
        self._symbols = self._read_symbols()

    def _read_sections(self, elf: ELFFile) -> list[tuple[Section, int]]:
        """Every section and its alignment.

        The headers are parsed by pyelftools, but not turned into its section objects: those of
        hash tables and version tables read their contents, whose size a hostile file chooses.
        """
        count = elf.num_sections()
        if count > _MOST_HEADERS:
            raise ELFError(f"it claims {count} sections")
        step = elf["e_shentsize"]
        self._check_end(elf["e_shoff"] + count * step, "section headers")
        headers = [
            struct_parse(elf.structs.Elf_Shdr, elf.stream, stream_pos=elf["e_shoff"] + i * step)
            for i in range(count)
        ]
        names = b""
        if elf.get_shstrndx() < count:
            strings = headers[elf.get_shstrndx()]
            names = self._bytes(strings["sh_offset"], strings["sh_size"], "section names")
        return [(Section.of(header, names), int(header["sh_addralign"])) for header in headers]

    def _read_segments(self, elf: ELFFile) -> list[Any]:
        count = elf["e_phnum"]
        step = elf["e_phentsize"]
        self._check_end(elf["e_phoff"] + count * step, "segment headers")
        return [
            struct_parse(elf.structs.Elf_Phdr, elf.stream, stream_pos=elf["e_phoff"] + i * step)
            for i in range(count)
        ]

    def _find_pieces(self, segments: list[Any]) -> None:
        """Which addresses have bytes in the file: by sections, or segments where there are none."""
        pieces = [
            (section.address, section.size, section.offset)
            for section in self.sections
            if section.loaded and section.in_file and section.size
        ] or [
            (segment["p_vaddr"], segment["p_filesz"], segment["p_offset"])
            for segment in segments
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]
        ]
        for _, size, offset in pieces:
            self._check_end(offset + size, "loaded parts")
        self._pieces = sorted(pieces)
        self._piece_starts = [start for start, _, _ in self._pieces]

    def _find_build_id(self, segments: list[Any]) -> None:
        notes = [
            (section.offset, section.size, section.address if section.loaded else None)
            for section in self.sections
            if section.kind == "SHT_NOTE"
        ] + [
            (segment["p_offset"], segment["p_filesz"], segment["p_vaddr"])
            for segment in segments
            if segment["p_type"] == "PT_NOTE"
        ]
        for offset, size, address in notes:
            if size > _LARGEST_NOTES:
                continue
            found = gnu_build_id(
                self._bytes(offset, size, "notes"), little_endian=self.little_endian
            )
            if found:
                self.build_id = found
                self.notes = None if address is None else (address, size)
                return

    def _read_symbols(self) -> ElfSymbols:
        table = next((s for s in self.sections if s.kind == "SHT_SYMTAB"), None)
        if table is None and self._dynamic:
            table = next((s for s in self.sections if s.kind == "SHT_DYNSYM"), None)
        if table is None or table.size < 2 * ENTRY_SIZE[self.bits]:
            raise ImageError(f"{self.path} has no symbol table: it was stripped", _WITH_SYMBOLS)
        if not table.link < len(self.sections):
            raise ELFError("its symbol table names no string table")
        strings = self.sections[table.link]
        address = np.array([s.address for s in self.sections], np.uint64)
        size = np.array([s.size for s in self.sections], np.uint64)
        zero = np.uint64(0)
        return ElfSymbols.read(
            self._bytes(table.offset, table.size, "symbols"),
            self._bytes(strings.offset, strings.size, "names of symbols"),
            SectionColumns(
                address if self.relocatable else np.full(len(address), zero),
                address + np.minimum(size, ~address),
                np.array([s.loaded for s in self.sections], np.bool_),
                np.array([s.executable for s in self.sections], np.bool_),
            ),
            bits=self.bits,
            little_endian=self.little_endian,
        )

    def _bytes(self, offset: int, size: int, what: str) -> bytes:
        # Read, not mapped: a file that shrinks while it is mapped would kill us by a signal.
        self._check_end(offset + size, what)
        return os.pread(self._fd, size, offset)

    def _check_end(self, end: int, what: str) -> None:
        if end > self._file_size:
            raise ELFError(f"its {what} should end at byte {end} and it has {self._file_size}")


def release_of(banner: bytes) -> str | None:
    """The release that a Linux banner names, safe to show; None if it is no banner."""
    found = _BANNER.match(banner)
    return printable(found[1]) if found else None


def _check_file(shown: str, fd: int) -> None:
    mode = os.fstat(fd).st_mode
    if stat.S_ISDIR(mode):
        raise ImageError(f"{shown} is a directory", "Name the file in it.")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{shown} is no regular file", "Copy it to a file first.")
    head = os.pread(fd, HEAD, 0)
    if not head.startswith(b"\x7fELF"):
        noun, advice = looks_like(head)
        raise ImageError(f"{shown} is no ELF file but {noun}", advice)
