"""Where a kernel without a description of its types keeps what it knows of a module.

Told from the modules themselves: a place is that of a member if what all modules have there fits,
as only the member does. The members and their order are those of include/linux/module.h:

- `core_layout` (Linux 4.8 to 6.3) is the range that the module's own structure lies in: an
  address, and how much of it there is, is text, is read-only, and is so once it has begun.
- `kallsyms` points right behind itself once the module has begun, where `core_kallsyms` is.

Since 6.4 (commit ac3b43283923) there are ranges by kind instead, and such a kernel needs BTF.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from symbols.btf import Btf
from symbols.btf_writing import BtfWriting
from symbols.memory import Memory, with_holes
from symbols.module_ring import HEAD_SIZE, LINK, NAME, NAME_SIZE, ModuleRing, module_ring

_PAGE = 4096
#: What is looked at of each module: its structure has 900 bytes, with lock debugging twice that.
_SPAN = 2048
_LARGEST_MODULE = np.uint64(256 << 20)
_INT, _POINTER, _ARRAY, _STRUCT = 1, 2, 3, 4


def types_of_modules(memory: Memory, head: int) -> Btf | None:
    """The types that a list of modules is read with; None where they cannot be told.

    Args:
        memory: the guest's.
        head: runtime address of the list.
    """
    ring = module_ring(memory, head)
    if ring is None:
        return None
    order = "<" if ring.little_endian else ">"
    data = b"".join(_beginning(memory, module) for module in ring.modules)
    count = len(ring.modules)
    words = np.frombuffer(data, order + "u8").astype(np.uint64).reshape(count, -1)
    halves = np.frombuffer(data, order + "u4").astype(np.uint64).reshape(count, -1)
    begun = halves[:, 0] == 0  # MODULE_STATE_LIVE
    at = np.array(ring.modules, np.uint64)
    core = _core(at, words, halves)
    if core is None or not begun.any():
        return None
    low = words[:, core]
    high = low + halves[:, 2 * core + 2]
    symbols = _symbols(at[begun], words[begun], core)
    typed = False
    if symbols is not None:
        kept = words[begun, symbols + 4]
        typed = bool(((kept >= low[begun]) & (kept < high[begun])).all())
    return _described(ring, core, symbols, typed=typed)


def _beginning(memory: Memory, module: int) -> bytes:
    page = module // _PAGE * _PAGE
    return with_holes(memory, page, 2 * _PAGE)[module - page :][:_SPAN].ljust(_SPAN, b"\0")


def _core(
    at: NDArray[np.uint64], words: NDArray[np.uint64], halves: NDArray[np.uint64]
) -> int | None:
    """Which word of a module begins its core layout; None where it is not one alone."""
    fitting = []
    for word in range(HEAD_SIZE // 8, words.shape[1] - 3):
        base = words[:, word]
        size, text, fixed, later = (halves[:, 2 * word + i] for i in (2, 3, 4, 5))
        fits = (base % np.uint64(_PAGE) == 0) & (base <= at) & (at - base < size)
        fits &= (size <= _LARGEST_MODULE) & (text <= fixed) & (fixed <= later) & (later <= size)
        if fits.all() and text.any():
            fitting.append(word)
    return fitting[0] if len(fitting) == 1 else None


def _symbols(at: NDArray[np.uint64], words: NDArray[np.uint64], core: int) -> int | None:
    """Which word points right behind itself; None where none does."""
    for word in range(core + 3, words.shape[1] - 4):
        if (words[:, word] == at + np.uint64(8 * word + 8)).all():
            return word
    return None


def _described(ring: ModuleRing, core: int, symbols: int | None, *, typed: bool) -> Btf:
    """The same as a kernel would describe it."""
    written = BtfWriting(little_endian=ring.little_endian)
    number = written.add(written.string(b"unsigned int"), _INT << 24, 4, 32)
    letter = written.add(written.string(b"char"), _INT << 24, 1, 8)
    pointer = written.add(0, _POINTER << 24, 0)
    name = written.add(0, _ARRAY << 24, 0, letter, number, NAME_SIZE)

    def structure(title: bytes, size: int, members: dict[bytes, tuple[int, int]]) -> int:
        words = [
            word
            for member, (kind, offset) in members.items()
            for word in (written.string(member), kind, 8 * offset)
        ]
        return written.add(written.string(title), _STRUCT << 24 | len(members), size, *words)

    links = structure(b"list_head", 16, {b"next": (pointer, 0), b"prev": (pointer, 8)})
    layout = structure(b"module_layout", 24, {b"base": (pointer, 0), b"size": (number, 8)})
    members = {
        b"state": (number, 0), b"list": (links, LINK), b"name": (name, NAME),
        b"core_layout": (layout, 8 * core),
    }  # fmt: skip
    size = 8 * core + 24
    if symbols is not None:
        kept = {b"symtab": (pointer, 0), b"num_symtab": (number, 8), b"strtab": (pointer, 16)}
        if typed:
            kept[b"typetab"] = (pointer, 24)
        structure(b"mod_kallsyms", 8 * (3 + typed), kept)
        members[b"kallsyms"] = (pointer, 8 * symbols)
        size = 8 * symbols + 8
    structure(b"module", size, members)
    return Btf.parse(written.content())
