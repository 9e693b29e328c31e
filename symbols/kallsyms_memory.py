"""The kernel's own table of symbols, out of guest memory: what /proc/kallsyms prints, without it.

scripts/kallsyms.c writes the table at build time, and every kernel with CONFIG_KALLSYMS carries
it. Where its parts are is known from the symbols of a vmlinux or from VMCOREINFO (since 6.0), or
found by `symbols.kallsyms_search`. The symbols of modules are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from symbols.errors import IntrospectionError
from symbols.kallsyms_tokens import (
    INDEX_SIZE,
    LARGEST_TABLE,
    Tokens,
    spell,
)
from symbols.memory import Memory, MemoryFault
from symbols.names import Names
from symbols.symbol_lines import KERNEL, SymbolLines

_WRAP = 1 << 64
#: Bounds of what we believe: a kernel with everything has 250,000 symbols.
MOST_SYMBOLS = 2_000_000
FEWEST_SYMBOLS = 256
_LARGEST_NAMES = 64 << 20
#: The kernel's image fits in this (KERNEL_IMAGE_SIZE of x86-64; aarch64 has far less).
LARGEST_KERNEL = 1 << 30
#: Which symbols begin the kernel's text; every kernel lists one.
FIRST_SYMBOLS = ("_stext", "_text")


class Encoding(StrEnum):
    """How the table holds addresses.

    `RELATIVE` since 4.6 (commit 2213e9a66bb8), `PERCPU` for x86-64 from 4.6 to 6.14, `PLACE` since
    7.0 (commit a081b5789255); `ABSOLUTE` before 4.6, and up to 6.10 where so configured.
    """

    ABSOLUTE = "addresses"
    RELATIVE = "offsets from a base"
    PERCPU = "offsets from a base where negative, else absolute"
    PLACE = "offsets from their own place"


@dataclass(frozen=True, slots=True)
class KallsymsTables:
    """Where the parts of the table are, all runtime addresses.

    Attributes:
        names: of kallsyms_names.
        count: of symbols.
        token_table: of kallsyms_token_table.
        token_index: of kallsyms_token_index.
        values: of kallsyms_offsets, or of kallsyms_addresses.
        base: what kallsyms_relative_base holds; None where there is none.
        wide: `values` are addresses of eight bytes, not offsets of four.
        little_endian: the guest's byte order.
    """

    names: int
    count: int
    token_table: int
    token_index: int
    values: int
    base: int | None = None
    wide: bool = False
    little_endian: bool = True


def tables_by_symbols(
    memory: Memory, address_of: Callable[[str], int | None], *, little_endian: bool = True
) -> KallsymsTables | None:
    """Where the parts are by their symbols; None where those are not known.

    Args:
        memory: the guest's, which holds the count and the base.
        address_of: runtime address of a symbol: of a vmlinux, or `Vmcoreinfo.symbols.get`.
        little_endian: the guest's byte order.
    """
    names = address_of("kallsyms_names")
    number = address_of("kallsyms_num_syms")
    table = address_of("kallsyms_token_table")
    index = address_of("kallsyms_token_index")
    offsets = address_of("kallsyms_offsets")
    values = offsets if offsets is not None else address_of("kallsyms_addresses")
    if names is None or number is None or table is None or index is None or values is None:
        return None
    base_at = address_of("kallsyms_relative_base")
    order: Literal["little", "big"] = "little" if little_endian else "big"
    try:
        # Eight bytes before 4.20, in which the count is at the end that comes first; what
        # follows the four bytes of today is zero, to align what comes next.
        count = int.from_bytes(memory.read(number, 4), order) or int.from_bytes(
            memory.read(number, 8), order
        )
        base = None if base_at is None else int.from_bytes(memory.read(base_at, 8), order)
    except MemoryFault:
        return None
    wide = offsets is None
    return KallsymsTables(names, count, table, index, values, base, wide, little_endian)


def read_kallsyms(
    memory: Memory, tables: KallsymsTables, *, first: int | None = None
) -> SymbolLines:
    """Every symbol of the kernel proper, in the order and with the addresses of /proc/kallsyms.

    Args:
        memory: the guest's.
        tables: where the parts are.
        first: runtime address of the kernel's first text, where known.

    Raises:
        IntrospectionError: the parts do not make a table, or not that of the kernel at `first`.
    """
    if not FEWEST_SYMBOLS <= tables.count <= MOST_SYMBOLS:
        raise IntrospectionError(
            f"the kernel's table of symbols claims to have {tables.count} of them"
        )
    # In every version the names come before the tokens, with the markers between.
    size = tables.token_table - tables.names
    if not 0 < size <= _LARGEST_NAMES:
        raise IntrospectionError("the names of the kernel's symbols do not precede their tokens")
    span = tables.token_index - tables.token_table
    if not 0 < span <= LARGEST_TABLE:
        raise IntrospectionError("the kernel's name tokens do not precede their index")
    try:
        tokens = Tokens.read(
            memory.read(tables.token_table, span),
            memory.read(tables.token_index, INDEX_SIZE),
            little_endian=tables.little_endian,
        )
        spelled = spell(memory.read(tables.names, size), tables.count, tokens)
        values = memory.read(tables.values, tables.count * (8 if tables.wide else 4))
    except MemoryFault as fault:
        raise IntrospectionError(
            f"the kernel's table of symbols cannot be read: {fault}",
            "Try again once the guest has booted.",
        ) from None
    # Two symbols begin the text; a table that lists neither is of no kernel.
    heads = [i for name in FIRST_SYMBOLS for i in spelled.names.find(name)]
    for encoding in _encodings(tables):
        address = addresses(values, encoding, tables)
        # Of a row that is taken four bytes too early or too late, each symbol has its
        # neighbour's address, which the text's first symbols do not tell: two share one.
        if encoding is Encoding.PLACE and (address[1:] < address[:-1]).any():
            continue
        if any(_belongs(int(address[i]), tables, first) for i in heads):
            return _lines(address, spelled.kind, spelled.names)
    raise IntrospectionError(
        "a table of symbols in the guest's memory is not that of its kernel: the kernel's text "
        "does not begin where the table says"
    )


def addresses(values: bytes, encoding: Encoding, tables: KallsymsTables) -> NDArray[np.uint64]:
    """The address of each symbol, modulo 2^64.

    Args:
        values: the bytes of the offsets or addresses.
        encoding: how to take them.
        tables: where they are, and their base.
    """
    order = "<" if tables.little_endian else ">"
    if encoding is Encoding.ABSOLUTE:
        return np.frombuffer(values, order + "u8").astype(np.uint64)
    if encoding is Encoding.RELATIVE:
        base = np.uint64((tables.base or 0) % _WRAP)
        return base + np.frombuffer(values, order + "u4").astype(np.uint64)
    signed = np.frombuffer(values, order + "i4").astype(np.int64)
    if encoding is Encoding.PERCPU:
        base = np.uint64(((tables.base or 0) - 1) % _WRAP)
        return np.where(signed >= 0, signed.view(np.uint64), base - signed.view(np.uint64))
    place = np.uint64(tables.values % _WRAP) + np.arange(len(signed), dtype=np.uint64) * np.uint64(
        4
    )
    return place + signed.view(np.uint64)


def _encodings(tables: KallsymsTables) -> Iterable[Encoding]:
    if tables.wide:
        return (Encoding.ABSOLUTE,)
    if tables.base is None:
        return (Encoding.PLACE,)
    return (Encoding.RELATIVE, Encoding.PERCPU)


def _belongs(head: int, tables: KallsymsTables, first: int | None) -> bool:
    """Whether a kernel whose text begins at `head` is the one that holds these tables."""
    if first is not None and head != first:
        return False
    return 0 < tables.names - head < LARGEST_KERNEL


def _lines(address: NDArray[np.uint64], kind: NDArray[np.uint8], names: Names) -> SymbolLines:
    return SymbolLines(address, kind, names, np.full(len(address), KERNEL, np.int64), [])
