"""A guest's memory in a file, as `dump-guest-memory` of QEMU's monitor writes it.

Format: an ELF core whose PT_LOAD segments are the guest's RAM by physical address, and whose notes
have the registers of its vcpus (dump/dump.c of QEMU 7.2; elf(5), Elf64_Nhdr). The compressed
formats of makedumpfile are not read.
"""

from __future__ import annotations

import bisect
import os
import stat
import struct
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elftools.elf.elffile import ELFFile

from gprof.errors import FormatError, UsageError
from symbols.elf import ARCHITECTURES, MALFORMED
from symbols.memory import MemoryFault
from symbols.names import printable

_AS_ELF = "Write one with QEMU's monitor: dump-guest-memory FILE (without -z, -l or -s)."
_MOST_SEGMENTS = 1 << 16
_LARGEST_NOTES = 16 << 20
_MOST_NOTES = 1 << 16
_READ = ("x86_64", "aarch64", "s390x", "riscv64")


@dataclass(frozen=True, slots=True)
class CoreNote:
    """A note of a dump.

    Attributes:
        owner: its name.
        kind: what the owner calls it by.
        content: its bytes.
    """

    owner: bytes
    kind: int
    content: bytes


class CoreFile:
    """The RAM of a guest by physical address, and the notes of its dump.

    Args:
        path: of the dump.

    Attributes:
        shown: its path, safe to show.
        architecture: as the kernel names it.
        order: of the bytes of its words.
        notes: as they stand in the file.
        ranges: (start, end) of its RAM, ascending.

    Raises:
        UsageError: there is no such file.
        FormatError: it is no such dump, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.shown = shown = printable(str(path))
        try:
            # A pipe would have us wait for who writes to it.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise UsageError(f"{shown} does not exist", "Check the path.") from None
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise FormatError(f"{shown} cannot be opened: {said}", _AS_ELF) from None
        weakref.finalize(self, os.close, self._fd)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            kind_of_file = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise FormatError(f"{shown} is {kind_of_file}", _AS_ELF)
        head = os.pread(self._fd, 8, 0)
        if head[:5] == b"KDUMP" or head == b"makedump":
            raise FormatError(f"{shown} is a compressed dump of makedumpfile's format", _AS_ELF)
        try:
            with os.fdopen(os.dup(self._fd), "rb") as stream:
                elf = ELFFile(stream)
                kind, machine = elf["e_type"], str(elf["e_machine"])
                order: Literal["little", "big"] = "little" if elf.little_endian else "big"
                segments = _segments(elf, status.st_size)
        except MALFORMED:
            raise FormatError(f"{shown} is no ELF file that can be read", _AS_ELF) from None
        if kind != "ET_CORE":
            raise FormatError(f"{shown} is an ELF file, but no dump of a machine", _AS_ELF)
        self.architecture = ARCHITECTURES.get(machine, "")
        if self.architecture not in _READ:
            raise FormatError(
                f"{shown} is of {printable(machine)}, whose dumps are not understood",
                f"gprof reads those of {', '.join(_READ)}; "
                "a guest that still runs: gprof dump --gdb.",
            )
        self.order = order
        self.notes = tuple(
            note for one in segments if one[0] == "PT_NOTE" for note in self._in_segment(one)
        )
        self._loads = sorted(
            (at, offset, size) for kind, at, offset, size in segments if kind == "PT_LOAD"
        )
        self._starts = [at for at, _, _ in self._loads]
        self.ranges = tuple((at, at + size) for at, _, size in self._loads)

    def damaged(self, problem: str) -> FormatError:
        """What to raise where the dump lacks something."""
        return FormatError(f"{self.shown} {problem}", _AS_ELF)

    def read(self, address: int, size: int) -> bytes:
        """Bytes of RAM at a physical address; see `symbols.memory.Memory`."""
        i = bisect.bisect_right(self._starts, address) - 1
        if i < 0:
            raise MemoryFault(address, size)
        start, offset, length = self._loads[i]
        if address + size > start + length:
            raise MemoryFault(address, size)
        try:
            data = os.pread(self._fd, size, offset + address - start)
        except (OSError, OverflowError):
            raise MemoryFault(address, size) from None
        if len(data) != size:
            raise MemoryFault(address, size)
        return data

    def _in_segment(self, segment: tuple[str, int, int, int]) -> Iterator[CoreNote]:
        _, _, offset, size = segment
        try:
            data = os.pread(self._fd, min(size, _LARGEST_NOTES), offset)
        except (OSError, OverflowError):
            return
        head = struct.Struct("<III" if self.order == "little" else ">III")
        at = 0
        for _ in range(_MOST_NOTES):
            if at + head.size > len(data):
                return
            name_size, content_size, kind = head.unpack_from(data, at)
            name_at = at + head.size
            content_at = name_at + -(-name_size // 4) * 4
            owner = data[name_at : name_at + name_size].rstrip(b"\0")
            yield CoreNote(owner, kind, data[content_at : content_at + content_size])
            at = content_at + -(-content_size // 4) * 4


def _segments(elf: ELFFile, file_size: int) -> list[tuple[str, int, int, int]]:
    """Kind, physical address, offset and size of each, as far as it is in the file.

    A damaged header may claim 2^64 bytes, and RAM is searched page by page.
    """
    count = elf.num_segments()
    if count > _MOST_SEGMENTS:
        raise ValueError(count)
    headers: list[Any] = [elf.get_segment(i).header for i in range(count)]
    return [
        (
            str(one["p_type"]),
            one["p_paddr"],
            one["p_offset"],
            min(one["p_filesz"], max(0, file_size - one["p_offset"])),
        )
        for one in headers
    ]
