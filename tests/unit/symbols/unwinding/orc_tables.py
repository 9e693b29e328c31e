"""ORC tables made by hand, in each of the four formats."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from symbols.unwinding.orc_table import Base, Frame

SLOTS = 0xFFFF_FFFF_8200_0000
TEXT = (0xFFFF_FFFF_8100_0000, 0xFFFF_FFFF_8110_0000)
OLD = {
    Base.UNDEFINED: 0, Base.PREVIOUS_SP: 1, Base.DX: 2, Base.DI: 3, Base.BP: 4, Base.SP: 5,
    Base.R10: 6, Base.R13: 7, Base.BP_INDIRECT: 8, Base.SP_INDIRECT: 9,
}  # fmt: skip
NEW = {
    Base.UNDEFINED: 0, Base.AX: 1, Base.DX: 2, Base.SP: 3, Base.BP: 4, Base.DI: 5, Base.R10: 6,
    Base.R13: 7, Base.PREVIOUS_SP: 8, Base.SP_INDIRECT: 9, Base.BP_INDIRECT: 10,
}  # fmt: skip
HEADERS = {
    2: bytes.fromhex("db84aed4103b31dd51e017f8f79783ca985c2c51"),
    3: bytes.fromhex("fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24"),
    4: bytes.fromhex("137c36ad7627c4dd55932176bb0ecdbd5041fc82"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What an entry says, whatever the format."""

    at: int
    frame: Frame
    base: Base = Base.SP
    offset: int = 8
    bp: Base = Base.UNDEFINED
    bp_offset: int = 0
    interrupted: bool = False


def flags(entry: Entry, version: int) -> int:
    """The last word of an entry (arch/x86/include/asm/orc_types.h of each version)."""
    numbers = NEW if version == 4 else OLD
    low = numbers[entry.base] | numbers[entry.bp] << 4
    if version >= 3:
        return low | entry.frame << 8 | entry.interrupted << 11
    if entry.frame <= Frame.END_OF_STACK:
        end = entry.frame == Frame.END_OF_STACK
        return low & 0xF0 | end << (11 if version == 2 else 10)
    low |= (entry.frame - Frame.CALL) << 8
    return low | entry.interrupted << 10 if version == 2 else low


def encoded(entries: Sequence[Entry], version: int) -> tuple[bytes, bytes]:
    """The bytes of both sections."""
    distances = b"".join(
        struct.pack("<i", entry.at - (SLOTS + 4 * i)) for i, entry in enumerate(entries)
    )
    rows = b"".join(
        struct.pack("<hhH", entry.offset, entry.bp_offset, flags(entry, version))
        for entry in entries
    )
    return distances, rows
