"""The symbols that the kernel keeps of a loaded module: `struct mod_kallsyms`.

They are the ELF symbols of the module's file with addresses filled in (kernel/module/kallsyms.c,
add_kallsyms), so that unlike those of the kernel proper they have sizes. Types are letters in
`typetab` since Linux 5.2, and in `st_info` before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.aliases import IGNORED_PREFIXES, best_aliases, starts_with
from symbols.elf_symbols import ENTRY_SIZE, entry_type
from symbols.errors import BtfError, IntrospectionError
from symbols.module_list import ListedModule
from symbols.names import Names
from symbols.space import ImageKind, LoadedImage
from symbols.structures import Structures
from symbols.symbol_lines import SymbolLines
from symbols.table import SymbolTable

_PAGE = 4096
#: The largest module of a distribution has 30,000 symbols.
_MOST_SYMBOLS = 500_000
_LARGEST_STRINGS = 32 << 20
_LONGEST_NAME = 512  # KSYM_NAME_LEN
_MOST_EXPORTS = 10_000
#: The bit in which a small letter of ASCII differs from its capital.
_SMALL = np.uint8(0x20)


@dataclass(frozen=True, slots=True)
class ModuleSymbols:
    """What the kernel knows of one module's symbols, in the order of /proc/kallsyms.

    Attributes:
        lines: as listed there: the letter is a capital where the symbol is exported.
        size: u64, bytes of each; 0 where unknown.
    """

    lines: SymbolLines
    size: NDArray[np.uint64]

    def functions(self, text: tuple[int, int]) -> SymbolTable:
        """Those within a range of text, one name an address, at runtime addresses."""
        address, kind, names = self.lines.address, self.lines.kind, self.lines.names
        rows = np.flatnonzero(
            np.isin(kind | _SMALL, np.frombuffer(b"tw", np.uint8))
            & (address >= np.uint64(text[0]))
            & (address <= np.uint64(text[1] - 1))
            & ~starts_with(names, IGNORED_PREFIXES)
        )
        rows = rows[
            best_aliases(
                names.take(rows),
                address[rows],
                sized=self.size[rows] > 0,
                weak=(kind[rows] | _SMALL) == ord("w"),
                exported=kind[rows] == ord("T"),
            )
        ]
        start = address[rows]
        last = np.uint64(text[1] - 1)
        # An end of exactly 2^64 does not fit a column; no module's text reaches there.
        limit = np.append(start[1:], min(text[1], (1 << 64) - 1)).astype(np.uint64)
        size = np.minimum(self.size[rows], last - start + np.uint64(1))
        return SymbolTable(start, np.where(size > 0, start + size, limit), names.take(rows))


def module_symbols(structures: Structures, module: ListedModule) -> ModuleSymbols | None:
    """The symbols of a loaded module; None where the kernel keeps none, or they are none.

    Args:
        structures: the guest's memory and types.
        module: from `list_modules`.

    Raises:
        MemoryFault: they cannot be read, perhaps only now: a vcpu in user mode may not see them.
    """
    try:
        place, _ = structures.member("module", "kallsyms")
        kept = structures.pointer(module.address + place.offset)
        if not kept:
            return None
        record = structures.at(kept, "mod_kallsyms")
        count = record.number("num_symtab")
        if not 0 < count <= _MOST_SYMBOLS:
            return None
        entries = structures.memory.read(record.number("symtab"), count * ENTRY_SIZE[64])
        rows = np.frombuffer(entries, entry_type(64, little_endian=structures.btf.little_endian))
        kind = rows["info"]
        if structures.has("mod_kallsyms", "typetab"):
            letters = structures.memory.read(record.number("typetab"), count)
            kind = np.frombuffer(letters, np.uint8)
        strings = _strings(structures, record.number("strtab"), int(rows["name"].max()))
        exported = _exported(structures, module)
    except (BtfError, IntrospectionError):
        return None
    zeros = np.append(np.flatnonzero(np.frombuffer(strings, np.uint8) == 0), len(strings))
    start = np.minimum(rows["name"].astype(np.int64), len(strings))
    end = zeros[np.searchsorted(zeros, start)].astype(np.int64)
    # The first entry of every table is empty, and the kernel does not list what has no name.
    named = np.flatnonzero(end > start)
    kind = kind[named]
    letter = ((kind | _SMALL) >= ord("a")) & ((kind | _SMALL) <= ord("z"))
    address = rows["value"].astype(np.uint64)[named]
    names = Names(strings, start[named], end[named])
    large = np.isin(address, np.array([place for place, _ in exported], np.uint64))
    # Another name of the same address is not exported with it.
    for i in np.flatnonzero(large).tolist():
        large[i] = (int(address[i]), names.raw(i)) in exported
    shown = np.where(large, kind & ~_SMALL, kind | _SMALL).astype(np.uint8)
    lines = SymbolLines(
        address,
        np.where(letter, shown, np.uint8(ord("?"))),
        names,
        np.zeros(len(named), np.int64),
        [module.name],
    )
    return ModuleSymbols(lines, rows["size"].astype(np.uint64)[named])


def loaded_image(
    module: ListedModule, symbols: ModuleSymbols | None, build_id: bytes = b""
) -> LoadedImage:
    """A module at its text, with the functions that the kernel knows in it.

    Args:
        module: from `list_modules`.
        symbols: from `module_symbols`.
        build_id: from `module_build_id`.
    """
    start, end = module.text
    table = symbols.functions(module.text) if symbols is not None else None
    return LoadedImage(module.name, ImageKind.MODULE, start, end, table, build_id=build_id)


def _strings(structures: Structures, address: int, last: int) -> bytes:
    """The names up to the one that begins at `last`; where they end is nowhere said."""
    if last > _LARGEST_STRINGS:
        raise IntrospectionError("the names of a module's symbols have no end")
    known = structures.memory.read(address, last + 1)
    # The last name may run on; it is read up to its zero, never further.
    return known + structures.text(address + last + 1, _LONGEST_NAME) + b"\0"


def _exported(structures: Structures, module: ListedModule) -> set[tuple[int, bytes]]:
    """Address and name of what a module exports to everybody; the kernel's list knows no others.

    `struct kernel_symbol` holds distances from its own members where the architecture can take
    them (CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, since Linux 4.19), else addresses.
    Types told by modules alone do not say where the list is: then nothing is known as exported.
    """
    if not structures.has("module", "syms"):
        return set()
    record = structures.at(module.address, "module")
    step = structures.size("kernel_symbol")
    relative = structures.has("kernel_symbol", "value_offset")
    members = [
        structures.member("kernel_symbol", member + "_offset" * relative)
        for member in ("value", "name")
    ]
    count = min(record.number("num_syms"), _MOST_EXPORTS)
    at = record.number("syms")
    if not count or not at:
        return set()
    data = structures.memory.read(at, count * step)
    addresses, names = (
        [
            _referred(structures.number(data[place : place + size]), at + place, relative)
            for place in range(member.offset, count * step, step)
        ]
        for member, size in members
    )
    # The names lie side by side, and are read together.
    first, last = min(names), max(names)
    known = _strings(structures, first, last - first)
    return {
        (address, known[name - first :].split(b"\0", 1)[0])
        for address, name in zip(addresses, names, strict=True)
    }


def _referred(value: int, place: int, relative: bool) -> int:
    """What a word at `place` refers to."""
    if relative:
        value = place + value - ((value >> 31) << 32)
    return value % (1 << 64)
