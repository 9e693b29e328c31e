"""Where a kernel without a description of its types keeps what it knows of a module.

Told from the modules themselves: a place is that of a member if what all modules have there fits,
as only the member does. The members are those of include/linux/module.h:

- `core_layout` (Linux 4.8 to 6.3) is the range that the module's own structure lies in: an
  address, and how much of it there is, is text, is read-only, and is so once it has begun.
- `mem` (since 6.4, commit ac3b43283923) has a range for each of seven kinds of content, of whole
  pages: the text first, then the data, in which the module's own structure lies. How far apart
  they are, and where in each its size is, depends on what else the kernel keeps there.
- `core_kallsyms` has the symbols, right behind each other in memory: their entries, so and so
  many, and their names. `kallsyms` points to it once the module has begun.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.module_ring import ModuleRing

_PAGE = np.uint64(4096)
_LOWEST = np.uint64(1 << 32)
_LARGEST_MODULE = np.uint64(256 << 20)
_ENTRY = np.uint64(24)  # Elf64_Sym
#: enum mod_mem_type: text, data, read-only, read-only once begun, and three for its beginning.
KINDS, _DATA = 7, 1
#: Words from one range of `mem` to the next: address and size, and what finds them by address.
_STEPS = range(2, 17)

_Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class ModulePlaces:
    """Offsets in a module, from where its ring says that they count.

    Attributes:
        base: of the address of its first range.
        size: of the size of that (u32), from `base`.
        step: from one range to the next; 0 where there is one alone.
        kallsyms: of the pointer to its symbols; None where there is none.
        typed: the symbols have letters of their own.
    """

    base: int
    size: int
    step: int
    kallsyms: int | None = None
    typed: bool = False


def places_of(ring: ModuleRing, windows: list[bytes]) -> ModulePlaces | None:
    """Where modules keep their ranges and symbols; None where no place fits, or several do.

    Args:
        ring: the list of them.
        windows: what is in memory from the address of each of the first so many, of equal length.
    """
    order = "<" if ring.little_endian else ">"
    data = b"".join(windows)
    count = len(windows)
    words = np.frombuffer(data, order + "u8").astype(np.uint64).reshape(count, -1)
    halves = np.frombuffer(data, order + "u4").astype(np.uint64).reshape(count, -1)
    begun = np.ones(count, np.bool_)
    if ring.state is not None:
        begun = halves[:, ring.state // 4] == 0  # MODULE_STATE_LIVE
    starts = np.array(ring.modules[:count], np.uint64)
    links = starts + np.uint64(ring.link)
    fitting = [*_layouts(links, words, halves), *_arrays(links, words, halves)]
    if len(fitting) != 1 or not begun.any():
        return None
    (parts,) = fitting
    held = (parts.base + _DATA * parts.step) // 8
    low = words[begun, held]
    high = low + halves[begun, 2 * held + parts.size // 4]
    symbols = _symbols(starts[begun], words[begun], halves[begun], low, high)
    if symbols is None:
        return parts
    return ModulePlaces(parts.base, parts.size, parts.step, *symbols)


def _layouts(links: _Words, words: _Words, halves: _Words) -> list[ModulePlaces]:
    """Where a module's core layout may be."""
    found = []
    for word in range(words.shape[1] - 3):
        base = words[:, word]
        size, text, fixed, later = (halves[:, 2 * word + i] for i in (2, 3, 4, 5))
        fits = (base % _PAGE == 0) & (base <= links) & (links - base < size)
        fits &= (size <= _LARGEST_MODULE) & (text <= fixed) & (fixed <= later) & (later <= size)
        if fits.all() and text.any():
            found.append(ModulePlaces(8 * word, 8, 0))
    return found


def _arrays(links: _Words, words: _Words, halves: _Words) -> list[ModulePlaces]:
    """Where a module's ranges by kind may be."""
    near = (words % _PAGE == 0) & (words <= links[:, None])
    near &= links[:, None] - words < _LARGEST_MODULE
    found = []
    for data in np.flatnonzero(near.all(axis=0)).tolist():
        for step in _STEPS:
            first = data - _DATA * step
            if first < 0 or first + KINDS * step > words.shape[1]:
                continue
            places = first + step * np.arange(KINDS)
            for half in range(2, 2 * step):
                size = halves[:, 2 * places + half]
                # Beside the size there is nothing, or a flag (`is_rox`, since 6.13).
                beside = halves[:, 2 * places + (half ^ 1)]
                if (beside <= 1).all() and _are_ranges(links, words[:, places], size):
                    found.append(ModulePlaces(8 * first, 4 * half, 8 * step))
    return found


def _are_ranges(links: _Words, base: _Words, size: _Words) -> bool:
    """Whether these are the ranges of modules: a row for each, a column for each kind."""
    there = base != 0
    whole = (base % _PAGE == 0) & (size % _PAGE == 0) & (size <= _LARGEST_MODULE)
    whole &= (there == (size != 0)) & (~there | (base >= _LOWEST))
    if not whole.all() or not there[:, 0].any():
        return False
    if not (links - base[:, _DATA] < size[:, _DATA]).all():
        return False
    order = np.argsort(base[there])
    start, end = base[there][order], (base + size)[there][order]
    return bool((start[1:] >= end[:-1]).all())


def _symbols(
    starts: _Words, words: _Words, halves: _Words, low: _Words, high: _Words
) -> tuple[int, bool] | None:
    """Where the pointer to the symbols is, and whether they have letters; None where nowhere."""
    low, high = low[:, None], high[:, None]
    table, names, letters = words[:, :-3], words[:, 2:-1], words[:, 3:]
    count = halves[:, 2 : 2 * table.shape[1] + 1 : 2]
    fits = (low <= table) & (table < names) & (names < high) & (names == table + _ENTRY * count)
    found = np.flatnonzero(fits.all(axis=0)).tolist()
    if len(found) != 1:
        return None
    (kept,) = found
    pointing = np.flatnonzero((words == starts[:, None] + np.uint64(8 * kept)).all(axis=0))
    if not len(pointing):
        return None
    lettered = letters[:, [kept]]
    return 8 * int(pointing[0]), bool(((names[:, [kept]] < lettered) & (lettered < high)).all())
