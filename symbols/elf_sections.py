"""The sections of an ELF file: where each lies, and where instructions are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from elftools.common.exceptions import ELFError

from symbols.names import printable

_WRAP = 1 << 64
_ALLOC, _EXECUTE = 2, 4  # SHF_*
_SEGMENT_EXECUTE = 1  # PF_X
#: A section that claims to be aligned to so much is not laid out.
_MOST_ALIGNMENT = 64 << 20
#: Text in one piece; a boot stub at low addresses is further from the kernel than this.
_SAME_TEXT = 256 << 20


@dataclass(frozen=True, slots=True)
class Section:
    """A section, at its link address.

    Attributes:
        name: text that is safe to show.
        kind: SHT_* as pyelftools names it, or its number.
        address: link address; of a relocatable file the one given by the layout.
        size: bytes in memory.
        offset: where its bytes start in the file.
        loaded: part of the running program.
        executable: holds instructions.
        link: number of the section it refers to.
    """

    name: str
    kind: str
    address: int
    size: int
    offset: int
    loaded: bool
    executable: bool
    link: int

    @classmethod
    def of(cls, header: Any, names: bytes) -> Self:
        """The section of a header.

        Args:
            header: as pyelftools parses it (Elf_Shdr).
            names: the file's names of sections.
        """
        start = header["sh_name"]
        end = names.find(b"\0", start)
        flags = header["sh_flags"]
        return cls(
            printable(names[start : end if end >= 0 else len(names)]),
            str(header["sh_type"]),
            header["sh_addr"],
            header["sh_size"],
            header["sh_offset"],
            bool(flags & _ALLOC),
            bool(flags & _EXECUTE) and bool(flags & _ALLOC),
            header["sh_link"],
        )

    @property
    def in_file(self) -> bool:
        """Its bytes are in the file; .bss has none."""
        return self.kind not in {"SHT_NOBITS", "SHT_NULL"}


def laid_out(sections: list[tuple[Section, int]]) -> tuple[Section, ...]:
    """The sections of a relocatable file at addresses from 0, as the kernel lays them out.

    Args:
        sections: each with its alignment.

    Raises:
        ELFError: together they are larger than an address space.
    """

    def rank(section: Section) -> tuple[bool, bool]:
        return section.name.startswith(".init"), not section.executable

    addresses = [0] * len(sections)
    at = 0
    for i in sorted(range(len(sections)), key=lambda i: rank(sections[i][0])):
        section, alignment = sections[i]
        if section.loaded and section.size < _WRAP and alignment < _MOST_ALIGNMENT:
            at = -(-at // max(alignment, 1)) * max(alignment, 1)
            addresses[i] = at
            at += section.size
    if at >= _WRAP:
        raise ELFError("its sections do not fit an address space")
    return tuple(
        replace(section, address=address)
        for (section, _), address in zip(sections, addresses, strict=True)
    )


def text_ranges(sections: tuple[Section, ...], segments: list[Any]) -> tuple[tuple[int, int], ...]:
    """Where instructions are, as (start, end), ascending; joined where little lies between.

    Args:
        sections: of the file.
        segments: its program headers, which tell where no section does.
    """
    pieces = [(s.address, s.address + s.size) for s in sections if s.executable and s.size] or [
        (segment["p_vaddr"], segment["p_vaddr"] + segment["p_memsz"])
        for segment in segments
        if segment["p_type"] == "PT_LOAD" and segment["p_flags"] & _SEGMENT_EXECUTE
    ]
    joined: list[tuple[int, int]] = []
    for start, end in sorted(pieces):
        if start >= end or end > _WRAP:
            continue
        if joined and start - joined[-1][1] <= _SAME_TEXT:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)
