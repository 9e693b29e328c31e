"""A guest's memory in a file, as `dump-guest-memory` of QEMU's monitor writes it.

Format: an ELF core whose PT_LOAD segments are the guest's RAM by physical address, and whose notes
named QEMU have the registers of one vcpu each (dump/dump.c and target/i386/arch_dump.c of QEMU
7.2, `QEMUCPUState`). The compressed formats of makedumpfile are not read.
"""

from __future__ import annotations

import bisect
import os
import struct
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile

from gprof.errors import FormatError
from symbols.elf import MALFORMED
from symbols.memory import MemoryFault
from symbols.names import printable

_AS_ELF = "Write one with QEMU's monitor: dump-guest-memory FILE (without -z, -l or -s)."
_MOST_SEGMENTS = 1 << 16
_LARGEST_NOTES = 16 << 20
_MOST_VCPUS = 4096
_QEMU = b"QEMU"

#: QEMUCPUState of x86-64: version and size, then these words, segments, and control registers.
_GENERAL = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp",
    *(f"r{number}" for number in range(8, 16)), "rip", "eflags",
)  # fmt: skip
_SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt")
_CONTROL = ("cr0", "cr1", "cr2", "cr3", "cr4")
_WORDS = struct.Struct(f"<{len(_GENERAL)}Q")
_SEGMENT = struct.Struct("<IIIIQ")
_CONTROLS = struct.Struct(f"<{len(_CONTROL)}Q")
_KERNEL_GS = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class CoreVcpu:
    """A vcpu in a dump.

    Attributes:
        index: its number, from 0.
        registers: by the names that QEMU's stub gives them; bases of segments as `gs_base`.
    """

    index: int
    registers: dict[str, int]


class CoreFile:
    """The RAM of a guest by physical address, and its vcpus' registers.

    Args:
        path: of the dump.

    Attributes:
        architecture: as the kernel names it.
        vcpus: by index.

    Raises:
        FormatError: it is no such dump, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shown = printable(str(path))
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else str(error)
            raise FormatError(f"{shown} cannot be opened: {said}", _AS_ELF) from None
        weakref.finalize(self, os.close, self._fd)
        head = os.pread(self._fd, 8, 0)
        if head[:5] == b"KDUMP" or head == b"makedump":
            raise FormatError(f"{shown} is a compressed dump of makedumpfile's format", _AS_ELF)
        try:
            with os.fdopen(os.dup(self._fd), "rb") as stream:
                elf = ELFFile(stream)
                kind, machine = elf["e_type"], elf["e_machine"]
                segments = self._segments(elf)
                notes = [
                    note for one in segments if one[0] == "PT_NOTE" for note in self._qemu(one)
                ]
        except MALFORMED:
            raise FormatError(f"{shown} is no ELF file that can be read", _AS_ELF) from None
        if kind != "ET_CORE":
            raise FormatError(f"{shown} is an ELF file, but no dump of a machine", _AS_ELF)
        if machine != "EM_X86_64":
            raise FormatError(
                f"{shown} is of {printable(str(machine))}: such a dump does not say where its "
                "page tables are",
                "Only dumps of x86_64 can be read so; a guest that still runs: gprof dump --qmp.",
            )
        if not notes:
            raise FormatError(f"{shown} has no registers of QEMU's vcpus", _AS_ELF)
        self.architecture = "x86_64"
        loads = sorted(
            (at, offset, size) for kind, at, offset, size in segments if kind == "PT_LOAD"
        )
        self._starts = [at for at, _, _ in loads]
        self._loads = loads
        self.vcpus = tuple(CoreVcpu(i, _registers(note)) for i, note in enumerate(notes))

    @staticmethod
    def _segments(elf: ELFFile) -> list[tuple[str, int, int, int]]:
        """Kind, physical address, offset and size of each; one that is not in the file is cut."""
        count = elf.num_segments()
        if count > _MOST_SEGMENTS:
            raise ValueError(count)
        headers: list[Any] = [elf.get_segment(i).header for i in range(count)]
        return [
            (str(one["p_type"]), one["p_paddr"], one["p_offset"], one["p_filesz"])
            for one in headers
        ]

    def _qemu(self, segment: tuple[str, int, int, int]) -> list[bytes]:
        """The contents of the notes named QEMU; format: elf(5), Elf64_Nhdr."""
        _, _, offset, size = segment
        data = os.pread(self._fd, min(size, _LARGEST_NOTES), offset)
        found: list[bytes] = []
        at = 0
        while at + 12 <= len(data) and len(found) < _MOST_VCPUS:
            name_size, content_size, _ = struct.unpack_from("<III", data, at)
            name_at = at + 12
            content_at = name_at + -(-name_size // 4) * 4
            if data[name_at : name_at + name_size].rstrip(b"\0") == _QEMU:
                found.append(data[content_at : content_at + content_size])
            at = content_at + -(-content_size // 4) * 4
        return found

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


def _registers(note: bytes) -> dict[str, int]:
    """The registers in a note of QEMU's; those it is too short for are missing."""
    found: dict[str, int] = {}
    at = 8
    if len(note) >= at + _WORDS.size:
        found |= zip(_GENERAL, _WORDS.unpack_from(note, at), strict=True)
    at += _WORDS.size
    for name in _SEGMENTS:
        if len(note) >= at + _SEGMENT.size:
            selector, _, _, _, base = _SEGMENT.unpack_from(note, at)
            found |= {name: selector, f"{name}_base": base}
        at += _SEGMENT.size
    if len(note) >= at + _CONTROLS.size:
        found |= zip(_CONTROL, _CONTROLS.unpack_from(note, at), strict=True)
    at += _CONTROLS.size
    if len(note) >= at + _KERNEL_GS.size:
        (found["k_gs_base"],) = _KERNEL_GS.unpack_from(note, at)
    return found
