"""What the first page of an ELF file says: which build it is, and where its parts are linked.

Format: System V gABI, "ELF Header" and "Program Header"; 64 bits.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from symbols.notes import gnu_build_id

_WRAP = 1 << 64
_MAGIC = b"\x7fELF"
_64_BITS, _LITTLE = 2, 1
_LOAD, _NOTE = 1, 4
_EXECUTABLE = 1
_HEADER_SIZE, _SEGMENT_SIZE = 64, 56
_MOST_SEGMENTS = 64


@dataclass(frozen=True, slots=True)
class ElfHead:
    """The headers of a program or a library.

    Attributes:
        build_id: GNU build id; empty where the page has none.
        segments: offset in the file, link address and size in the file of what is loaded; first
            what may run, of which a page may begin with the end of something else.
    """

    build_id: bytes
    segments: tuple[tuple[int, int, int], ...]

    def linked(self, offset: int, page: int = 4096) -> int | None:
        """Link address of what lies at an offset of the file; None where that is not loaded.

        Args:
            offset: that of a page.
            page: bytes of one.
        """
        for start, address, size in self.segments:
            if start & -page <= offset < start + size:
                return (address + offset - start) % _WRAP
        return None


def elf_head(page: bytes) -> ElfHead | None:
    """What the beginning of a file says; None where it is no ELF file of 64 bits.

    Args:
        page: the first bytes of the file.
    """
    if len(page) < _HEADER_SIZE or page[:4] != _MAGIC or page[4] != _64_BITS:
        return None
    little = page[5] == _LITTLE
    order = "<" if little else ">"
    (at,) = struct.unpack_from(order + "Q", page, 32)
    size, count = struct.unpack_from(order + "HH", page, 54)
    if size != _SEGMENT_SIZE or count > _MOST_SEGMENTS or at + size * count > len(page):
        return None
    running: list[tuple[int, int, int]] = []
    others: list[tuple[int, int, int]] = []
    build_id = b""
    for segment in struct.iter_unpack(order + "IIQQQQQQ", page[at : at + size * count]):
        kind, flags, offset, address, _, length, _, _ = segment
        if kind == _LOAD:
            (running if flags & _EXECUTABLE else others).append((offset, address, length))
        elif kind == _NOTE and not build_id:
            build_id = gnu_build_id(page[offset : offset + length], little_endian=little)
    return ElfHead(build_id, (*running, *others))
