"""ORC: the Linux kernel's own table of how to find the caller at every instruction (x86-64).

Two sections side by side: `.orc_unwind_ip`, for each entry the distance from its own slot to the
first instruction that it is for (s32), and `.orc_unwind`, six bytes an entry: s16 offset of the
previous stack pointer, s16 offset of the saved rbp, u16 with the registers that the two count
from, the kind of frame, and flags. Source: arch/x86/include/asm/orc_types.h of Linux 4.14, 6.3,
6.4 and 7.1, which are the formats 1 to 4.

`.orc_header` (since 6.4, and 6.3.10) holds a hash of the format's definition (scripts/orc_hash.sh).
Without it the table tells its format itself: most entries are for calls and count from rsp, and
each format writes those two in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symbols.elf import Image
from symbols.errors import UnwindError
from symbols.memory import Memory, MemoryFault

#: The largest kernels have half a million entries.
_MOST_ENTRIES = 1 << 22
_HEADER_BYTES = 20
_READ_AT_ONCE = 1 << 20

_FORMAT_OF_HASH = {
    "db84aed4103b31dd51e017f8f79783ca985c2c51": 2,
    "fe5d32bf581bd63b2ca9a5c65ba5a625eab3fe24": 3,
    "137c36ad7627c4dd55932176bb0ecdbd5041fc82": 4,
}

_ENTRY = np.dtype([("sp_offset", "<i2"), ("bp_offset", "<i2"), ("flags", "<u2")])


class Frame(IntEnum):
    """The kind of frame that an entry describes."""

    UNDEFINED = 0
    END_OF_STACK = 1
    CALL = 2
    REGS = 3
    REGS_PARTIAL = 4


class Base(IntEnum):
    """What an offset counts from, whatever number the format has for it."""

    UNDEFINED = 0
    PREVIOUS_SP = 1
    AX = 2
    DX = 3
    DI = 4
    BP = 5
    SP = 6
    R10 = 7
    R13 = 8
    BP_INDIRECT = 9
    SP_INDIRECT = 10
    #: Of kernels before 5.12 (87ccc826bf1c): the offset belongs to the address of the pointer,
    #: not to what it points to. Only frames of registers used it, and none of them do since.
    SP_INDIRECT_INSIDE = 11
    INVALID = 12


def _numbering(*bases: Base) -> NDArray[np.uint8]:
    return np.array([*bases, *[Base.INVALID] * (16 - len(bases))], np.uint8)


_OLD_NUMBERS = _numbering(
    Base.UNDEFINED, Base.PREVIOUS_SP, Base.DX, Base.DI, Base.BP, Base.SP, Base.R10, Base.R13,
    Base.BP_INDIRECT, Base.SP_INDIRECT,
)  # fmt: skip
_NEW_NUMBERS = _numbering(
    Base.UNDEFINED, Base.AX, Base.DX, Base.SP, Base.BP, Base.DI, Base.R10, Base.R13,
    Base.PREVIOUS_SP, Base.SP_INDIRECT, Base.BP_INDIRECT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OrcTable:
    """How to find the caller, for every instruction of one image; columns of equal length.

    Attributes:
        version: the format that it was in, 1 to 4.
        covers: first link address of the code that the table is for, and the one after its last.
        start: u64, ascending: the first link address that each entry is for; it holds up to the
            next one's.
        frame: u8, a `Frame`.
        cfa_base: u8, a `Base`: the previous stack pointer is this register plus `cfa_offset`.
        cfa_offset: i16.
        bp_base: u8, a `Base`: where rbp is saved; UNDEFINED where it still holds.
        bp_offset: i16.
        interrupted: the caller did not call but was interrupted: its pc is exact.
    """

    version: int
    covers: tuple[int, int]
    start: NDArray[np.uint64]
    frame: NDArray[np.uint8]
    cfa_base: NDArray[np.uint8]
    cfa_offset: NDArray[np.int16]
    bp_base: NDArray[np.uint8]
    bp_offset: NDArray[np.int16]
    interrupted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def parse(
        cls,
        distances: bytes,
        entries: bytes,
        address: int,
        covers: tuple[int, int],
        *,
        version: int | None = None,
        header: bytes = b"",
    ) -> OrcTable:
        """A table from the bytes of its two sections.

        Args:
            distances: of `.orc_unwind_ip`.
            entries: of `.orc_unwind`.
            address: where the first distance lies.
            covers: the code that the table is for, first address and the one after the last.
            version: the format; None where it has to be found out.
            header: of `.orc_header`; empty where there is none.

        Raises:
            UnwindError: the sizes do not fit each other, or the format is not known.
        """
        count = len(distances) // 4
        if len(distances) != 4 * count or len(entries) != _ENTRY.itemsize * count or not count:
            raise UnwindError(
                f"the unwind tables do not fit each other: {len(distances)} bytes of addresses, "
                f"{len(entries)} bytes of entries",
                "Copy the kernel's file again, or sample with --call-graph none.",
            )
        slots = np.uint64(address) + np.arange(0, 4 * count, 4, dtype=np.uint64)
        start = slots + np.frombuffer(distances, "<i4").astype(np.int64).view(np.uint64)
        raw = np.frombuffer(entries, _ENTRY)
        flags: NDArray[np.uint16] = raw["flags"]
        version = version or _format(flags, header)
        frame, interrupted = _frames(flags, version)
        numbers = _NEW_NUMBERS if version == 4 else _OLD_NUMBERS
        cfa_base = numbers[flags & 0xF]
        inside = (cfa_base == Base.SP_INDIRECT) & (frame != Frame.CALL)
        cfa_base[inside] = Base.SP_INDIRECT_INSIDE
        columns: list[NDArray[Any]] = [
            start, frame, cfa_base, raw["sp_offset"], numbers[flags >> 4 & 0xF], raw["bp_offset"],
            interrupted,
        ]  # fmt: skip
        if not (start[1:] >= start[:-1]).all():
            # Before 5.6 sorted at boot only. Of two entries for one address the first says
            # that a piece of text has ended, the other what begins there.
            order = np.lexsort((frame != Frame.UNDEFINED, start))
            columns = [column[order] for column in columns]
        starts, frames, cfa_bases, cfa_offsets, bp_bases, bp_offsets, exact = columns
        return cls(
            version, covers, starts, frames, cfa_bases, cfa_offsets, bp_bases, bp_offsets, exact
        )

    @classmethod
    def of_image(cls, image: Image) -> OrcTable | None:
        """The table of a vmlinux; None where it has none.

        Raises:
            UnwindError: see `parse`, or its bytes are missing.
        """
        distances = image.section(".orc_unwind_ip")
        entries = image.section(".orc_unwind")
        if image.relocatable or distances is None or entries is None or not image.text_ranges:
            return None
        header = image.section(".orc_header")
        try:
            return cls.parse(
                _read(image, distances.address, distances.size),
                _read(image, entries.address, entries.size),
                distances.address,
                (image.text_ranges[0][0], image.text_ranges[-1][1]),
                header=_read(image, header.address, header.size) if header else b"",
            )
        except MemoryFault as fault:
            raise UnwindError(
                f"the unwind tables of {image.path} have no bytes in the file: {fault}",
                "Give the vmlinux that the kernel's build made, not a split debug file.",
            ) from None

    @classmethod
    def of_memory(
        cls,
        memory: Memory,
        distances: tuple[int, int],
        entries: tuple[int, int],
        covers: tuple[int, int],
        *,
        version: int | None = None,
        header: int | None = None,
    ) -> OrcTable:
        """The table as a guest has it in memory, at runtime addresses.

        Args:
            memory: the guest's.
            distances: first address and the one after the last, `__start_orc_unwind_ip` and
                `__stop_orc_unwind_ip` of a kernel.
            entries: the same of `__start_orc_unwind`.
            covers: see `parse`.
            version: see `parse`; that of the kernel for a module's table.
            header: `__start_orc_header`; None where the kernel has none.

        Raises:
            UnwindError: see `parse`, or the memory cannot be read.
        """
        try:
            return cls.parse(
                _read(memory, distances[0], distances[1] - distances[0]),
                _read(memory, entries[0], entries[1] - entries[0]),
                distances[0],
                covers,
                version=version,
                header=memory.read(header, _HEADER_BYTES) if header is not None else b"",
            )
        except MemoryFault as fault:
            raise UnwindError(
                f"the guest's unwind tables cannot be read: {fault}",
                "Give the kernel's vmlinux with --guestvmlinux.",
            ) from None

    def index(self, address: int) -> int:
        """The entry for a link address, or -1."""
        if not self.covers[0] <= address < self.covers[1]:
            return -1
        return int(np.searchsorted(self.start, np.uint64(address), side="right")) - 1


def _read(memory: Memory, address: int, size: int) -> bytes:
    if not 0 <= size <= _MOST_ENTRIES * _ENTRY.itemsize:
        raise UnwindError(
            f"an unwind table claims to have {size} bytes",
            "Copy the kernel's file again, or sample with --call-graph none.",
        )
    parts = range(address, address + size, _READ_AT_ONCE)
    return b"".join(memory.read(at, min(_READ_AT_ONCE, address + size - at)) for at in parts)


def _format(flags: NDArray[np.uint16], header: bytes) -> int:
    """Which of the four formats a table is in."""
    if header:
        known = _FORMAT_OF_HASH.get(header[:_HEADER_BYTES].hex())
        if known is None:
            raise UnwindError(
                "the kernel's unwind table is in a format that this gprof does not know "
                f"({header[:_HEADER_BYTES].hex()})",
                "A later gprof may know it; sample with --call-graph none meanwhile.",
            )
        return known
    kinds = np.bincount(flags >> 8 & 7, minlength=8)
    if kinds.argmax() == 0:  # CALL of formats 1 and 2
        # The end of a stack is bit 11 of format 2, which is never set in format 1.
        return 2 if (flags >> 11 & 1).any() else 1
    bases = np.bincount(flags[(flags >> 8 & 7) == Frame.CALL] & 0xF, minlength=16)
    if kinds.argmax() == Frame.CALL and bases.argmax() in {3, 5}:
        return 4 if bases.argmax() == 3 else 3
    raise UnwindError(
        "the kernel's unwind table is in no format that gprof knows",
        "Sample with --call-graph none.",
    )


def _frames(flags: NDArray[np.uint16], version: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The kind of each frame, and whether its caller was interrupted."""
    if version >= 3:
        kind = (flags >> 8 & 7).astype(np.uint8)
        kind[kind > Frame.REGS_PARTIAL] = Frame.UNDEFINED
        return kind, (flags >> 11 & 1).astype(np.bool_)
    end = flags >> (11 if version == 2 else 10) & 1
    # CALL, REGS, REGS_PARTIAL from 0; without a stack pointer there is no frame at all.
    kind = (flags >> 8 & 3).astype(np.uint8) + np.uint8(Frame.CALL)
    kind[kind > Frame.REGS_PARTIAL] = Frame.UNDEFINED
    no_base = flags & 0xF == 0
    kind[no_base] = np.where(end[no_base] == 1, Frame.END_OF_STACK, Frame.UNDEFINED)
    if version == 2:
        return kind, (flags >> 10 & 1).astype(np.bool_)
    return kind, kind >= Frame.REGS
