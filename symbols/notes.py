"""ELF notes as bytes, from a file or from a guest's memory: the GNU build id."""

from __future__ import annotations

import struct

#: NT_GNU_BUILD_ID of binutils' include/elf/common.h. Xen's notes use type 3 too, and come first
#: in the .notes of an x86 kernel: the owner's name decides.
_BUILD_ID = 3
#: 20 bytes of SHA-1 are usual, 32 possible; anything much longer is no build id.
_LONGEST_ID = 64


def gnu_build_id(notes: bytes, *, little_endian: bool) -> bytes:
    """The GNU build id among `notes`, or nothing where there is none or the bytes are no notes.

    Each note is three words (size of name, size of content, type), the name and the content,
    both padded to four bytes (System V gABI, "Note Section"; Linux and binutils keep four bytes
    in 64-bit files too). Notes of a section aligned to eight are padded to eight.
    """
    for alignment in (4, 8):
        found = _search(notes, "<III" if little_endian else ">III", alignment)
        if found:
            return found
    return b""


def _search(notes: bytes, header: str, alignment: int) -> bytes:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from(header, notes, at)
        name_end = at + 12 + name_size
        # The name's padding runs up to the content's alignment, counted from the note's start.
        content = at + _padded(12 + name_size, alignment)
        end = content + size
        if name_end > len(notes) or end > len(notes):
            return b""
        name = notes[at + 12 : name_end]
        if kind == _BUILD_ID and name == b"GNU\0" and 0 < size <= _LONGEST_ID:
            return notes[content:end]
        at += _padded(end - at, alignment)
    return b""


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
