"""The symbol table of an ELF file as columns: a kernel's 130,000 symbols in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from symbols.aliases import IGNORED_PREFIXES, best_aliases, starts_with
from symbols.names import Names
from symbols.table import SymbolTable

#: Elf32_Sym and Elf64_Sym of the System V gABI, "Symbol Table".
_LAYOUT = {
    32: [("name", "u4"), ("value", "u4"), ("size", "u4"), ("info", "u1"), ("other", "u1"),
         ("section", "u2")],
    64: [("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"),
         ("size", "u8")],
}  # fmt: skip
ENTRY_SIZE = {32: 16, 64: 24}


def entry_type(bits: int, *, little_endian: bool) -> np.dtype[Any]:
    """One entry of a symbol table: name, value, size, info, other, section."""
    order = "<" if little_endian else ">"
    return np.dtype([(name, order + kind) for name, kind in _LAYOUT[bits]])


_UNDEFINED = 0
_RESERVED = 0xFF00  # SHN_LORESERVE: from here on no section's number
_NOTYPE, _OBJECT, _FUNC, _SECTION, _FILE, _IFUNC = 0, 1, 2, 3, 4, 10
_GLOBAL, _WEAK = 1, 2
_LAST = np.uint64((1 << 64) - 1)


@dataclass(frozen=True, slots=True)
class SectionColumns:
    """The sections that a symbol may lie in, by their number.

    Attributes:
        base: what to add to a symbol's value: 0, or the section's address in a relocatable file.
        end: the address after the section's last.
        loaded: the section is part of the running program.
        executable: it holds instructions.
    """

    base: NDArray[np.uint64]
    end: NDArray[np.uint64]
    loaded: NDArray[np.bool_]
    executable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ElfSymbols:
    """Every named and defined symbol of a file, in file order.

    Attributes:
        names: their names.
        address: link-time address.
        size: bytes; 0 where the assembler was told none.
        kind: STT_*.
        binding: STB_*.
        section: number of the section, or len(sections) for none.
        sections: the sections, one more than the file has: the last stands for "none".
    """

    names: Names
    address: NDArray[np.uint64]
    size: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    binding: NDArray[np.uint8]
    section: NDArray[np.int64]
    sections: SectionColumns

    @classmethod
    def read(
        cls,
        symtab: bytes,
        strtab: bytes,
        sections: SectionColumns,
        *,
        bits: int,
        little_endian: bool,
    ) -> ElfSymbols:
        """Symbols from the bytes of .symtab and .strtab; entries that point nowhere are left out.

        Args:
            symtab: the bytes of .symtab; what is left over after whole entries is not read.
            strtab: the bytes of its string table.
            sections: one row for each section of the file, in order.
            bits: 32 or 64.
            little_endian: the file's byte order.
        """
        entry = entry_type(bits, little_endian=little_endian)
        rows = np.frombuffer(symtab, entry, len(symtab) // entry.itemsize)
        kind = rows["info"] & 15
        rows = rows[
            (rows["name"] != 0)
            & (rows["name"] < len(strtab))
            & (rows["section"] != _UNDEFINED)
            & (kind != _SECTION)
            & (kind != _FILE)
        ]
        start = rows["name"].astype(np.int64)
        zeros = np.append(np.flatnonzero(np.frombuffer(strtab, np.uint8) == 0), len(strtab))
        names = Names(strtab, start, zeros[np.searchsorted(zeros, start)].astype(np.int64))
        nowhere = len(sections.base)
        section = rows["section"].astype(np.int64)
        section[(section >= _RESERVED) | (section >= nowhere)] = nowhere
        padded = SectionColumns(
            np.append(sections.base, np.uint64(0)),
            np.append(sections.end, _LAST),
            np.append(sections.loaded, False),
            np.append(sections.executable, False),
        )
        return cls(
            names,
            rows["value"].astype(np.uint64) + padded.base[section],
            rows["size"].astype(np.uint64),
            rows["info"] & 15,
            rows["info"] >> 4,
            section,
            padded,
        )

    def address_of(self, name: str) -> int | None:
        """Where a symbol of that name is: a global one if there are several, else the first."""
        found = self.names.find(name)
        if not found:
            return None
        return int(self.address[min(found, key=lambda i: (self.binding[i] == 0, i))])

    def functions(self) -> SymbolTable:
        """Everything that executes, by address.

        Chosen as perf does (tools/perf/util/symbol-elf.c): functions, and labels without a type
        in executable sections, which is how assembly marks its entries. A symbol without a size
        ends where the next one starts, and not after the one around it or its section.
        """
        loaded = self.sections.loaded[self.section]
        executable = self.sections.executable[self.section]
        function = ((self.kind == _FUNC) | (self.kind == _IFUNC)) & loaded
        label = (self.kind == _NOTYPE) & executable
        inside = self.address < self.sections.end[self.section]
        rows = self._without_markers(np.flatnonzero((function | label) & inside))
        rows = rows[
            best_aliases(
                self.names.take(rows),
                self.address[rows],
                sized=self.size[rows] > 0,
                weak=self.binding[rows] == _WEAK,
                exported=self.binding[rows] == _GLOBAL,
            )
        ]
        start = self.address[rows]
        return SymbolTable(start, self._ends(rows, start), self.names.take(rows))

    def objects(self) -> SymbolTable:
        """Everything that is loaded and does not execute, by address; of aliases the first.

        A symbol without a size ends where the next one starts.
        """
        data = self.sections.loaded[self.section] & ~self.sections.executable[self.section]
        known = (self.kind == _OBJECT) | (self.kind == _NOTYPE)
        inside = self.address < self.sections.end[self.section]
        rows = self._without_markers(np.flatnonzero(data & known & inside))
        _, first = np.unique(self.address[rows], return_index=True)
        rows = rows[first]
        start = self.address[rows]
        return SymbolTable(start, self._ends(rows, start), self.names.take(rows))

    def _without_markers(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows whose names are of the program, and not of the assembler."""
        return rows[~starts_with(self.names.take(rows), IGNORED_PREFIXES)]

    def _ends(self, rows: NDArray[np.int64], start: NDArray[np.uint64]) -> NDArray[np.uint64]:
        if not len(rows):
            return start
        size = self.size[rows]
        section_end = self.sections.end[self.section[rows]]
        # In a hostile table a size may carry past 2^64, or out of the section.
        sized = start + np.minimum(size, section_end - start)
        # How far the symbols before reach: one without a size stays in the one around it.
        reach = np.maximum.accumulate(np.where(size > 0, sized, np.uint64(0)))
        around = np.concatenate([np.zeros(1, np.uint64), reach[:-1]])
        limit = np.where(around > start, np.minimum(around, section_end), section_end)
        following = np.append(start[1:], _LAST)
        return np.where(size > 0, sized, np.minimum(following, limit))
