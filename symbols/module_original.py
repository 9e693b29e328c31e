"""A module's code as its file has it, beside what the guest runs.

A module is linked when it is loaded: the bytes that its relocations fill in are nobody's patch,
and are not compared. What they tell besides is where the kernel rewrites the module's code, since
the lists of such places consist of addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from symbols.elf import Image
from symbols.elf_sections import Section
from symbols.elf_symbols import entry_type
from symbols.memory import MemoryFault
from symbols.original import Original
from symbols.patch_sites import REACH, PatchKind, PatchSites

_WRAP = 1 << 64
#: Relocations that fill in eight bytes; all others that code has fill in four (the psABI
#: documents; R_X86_64_64, R_AARCH64_ABS64, R_390_64, R_PPC64_ADDR64, R_RISCV_64).
_WIDE = {"x86_64": 1, "aarch64": 257, "s390x": 22, "ppc64": 38, "riscv64": 2}
#: Sections that list places, and how large their entries are where these hold other addresses
#: of code too: 0 where they do not.
_LISTS = (
    (".altinstructions", PatchKind.ALTERNATIVE, 0),
    ("__jump_table", PatchKind.STATIC_KEY, 16),
    (".static_call_sites", PatchKind.STATIC_CALL, 0),
    ("__mcount_loc", PatchKind.FTRACE, 0),
    ("__patchable_function_entries", PatchKind.FTRACE, 0),
    (".parainstructions", PatchKind.PARAVIRT, 0),
    (".retpoline_sites", PatchKind.RETPOLINE, 0),
    (".return_sites", PatchKind.RETURN_THUNK, 0),
    (".smp_locks", PatchKind.LOCK_PREFIX, 0),
)
#: Code that only stands in for other code is no place to be rewritten.
_STAND_IN = ".altinstr"


class ModuleOriginal(Original):
    """The file of a module, seen where the guest runs it.

    Args:
        image: the relocatable file.
        moves: where the guest has its sections: start, end, and how far from there to the
            file's layout; of `lines_of_space.moves_of`.
    """

    def __init__(self, image: Image, moves: Sequence[tuple[int, int, int]]) -> None:
        super().__init__(image)
        self._moves = tuple(moves)

    def read(self, address: int, size: int) -> bytes:
        """The file's bytes at runtime addresses; see `symbols.memory.Memory.read`."""
        try:
            return self.image.read(self.linked(address), size)
        except MemoryFault:
            raise MemoryFault(address, size) from None

    def linked(self, address: int) -> int:
        """A runtime address in the file's layout; one that is nowhere where it has no place."""
        for start, end, by in self._moves:
            if start <= address < end:
                return (address + by) % _WRAP
        return _WRAP - 1

    def objects_at(self, addresses: NDArray[np.uint64]) -> dict[int, str]:  # noqa: ARG002
        """None: where the guest has a module's data is not known."""
        return {}

    @cached_property
    def sites(self) -> PatchSites:
        """Where the kernel rewrites the module, in the file's layout."""
        found: dict[PatchKind, NDArray[np.uint64]] = {}
        for name, kind, size in _LISTS:
            section = self.image.section(f".rela{name}")
            rows = self._relocations(section) if section is not None else None
            if rows is None or not len(rows):
                continue
            sites = self._targets(rows[rows["offset"] % np.uint64(size) == 0] if size else rows)
            if len(sites):
                found[kind] = np.unique(np.append(found.get(kind, sites), sites))
        return PatchSites(
            tuple(found),
            tuple(found.values()),
            tuple(np.full(len(sites), REACH, np.uint64) for sites in found.values()),
        )

    def different(self, live: bytes, file: bytes, start: int) -> NDArray[np.bool_]:
        """Which bytes differ, but for those that were filled in when the module was loaded."""
        different: NDArray[np.bool_] = np.frombuffer(live, "u1") != np.frombuffer(file, "u1")
        linked = self.linked(start)
        for section in self.image.sections:
            if section.address <= linked < section.address + section.size and section.executable:
                different[self._filled(section, linked - section.address, len(live))] = False
        return different

    def _filled(self, section: Section, first: int, size: int) -> NDArray[np.int64]:
        """Which bytes of a piece of a section relocations fill in, counted from its start."""
        listed = self.image.section(f".rela{section.name}")
        if listed is None:
            return np.empty(0, np.int64)
        rows = self._relocations(listed)
        at = rows["offset"].astype(np.int64) - first
        wide = (rows["info"] & np.uint64(0xFFFFFFFF)) == _WIDE.get(self.image.architecture, 0)
        filled = [at + i for i in range(4)] + [at[wide] + i for i in range(4, 8)]
        joined = np.concatenate(filled)
        return joined[(joined >= 0) & (joined < size)]

    def _relocations(self, section: Section) -> NDArray[np.void]:
        """The entries of an SHT_RELA section: offset, info, addend (System V gABI)."""
        order = "<" if self.image.little_endian else ">"
        entry = np.dtype([(name, f"{order}u8") for name in ("offset", "info", "addend")])
        if self.image.bits != 64:
            return np.empty(0, entry)
        data = self.image.content(section)
        return np.frombuffer(data, entry, len(data) // entry.itemsize)

    def _targets(self, rows: NDArray[np.void]) -> NDArray[np.uint64]:
        """The places in code that relocations point to."""
        table = next((s for s in self.image.sections if s.kind == "SHT_SYMTAB"), None)
        if table is None:
            return np.empty(0, np.uint64)
        entry = entry_type(64, little_endian=self.image.little_endian)
        data = self.image.content(table)
        symbols = np.frombuffer(data, entry, len(data) // entry.itemsize)
        number = (rows["info"] >> np.uint64(32)).astype(np.int64)
        known = number < len(symbols)
        chosen = symbols[number[known]]
        section = chosen["section"].astype(np.int64)
        bases = np.array(
            [
                s.address if s.executable and not s.name.startswith(_STAND_IN) else _WRAP - 1
                for s in self.image.sections
            ],
            np.uint64,
        )
        inside = section < len(bases)
        base = bases[section[inside]]
        code = base != np.uint64(_WRAP - 1)
        value = chosen["value"][inside][code].astype(np.uint64)
        found: NDArray[np.uint64] = base[code] + value + rows["addend"][known][inside][code]
        return found
