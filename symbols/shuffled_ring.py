"""The kernel's list of modules where a kernel shuffles its structures (CONFIG_RANDSTRUCT).

The links and the name of a module then lie anywhere in its structure, but in that of every module
at the same distance from each other: the name is the one place, near the links of all of them,
that has what a name looks like.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from symbols.memory import Memory, gather, windows
from symbols.module_ring import MOST_MODULES, NAME_FORM, NAME_SIZE, ModuleRing

#: How far from its links a member of a module is at most, on either side: a structure has 900 to
#: 1,400 bytes.
REACH = 2048
_LINKS = 16
#: So many modules tell as much as all do.
ASKED = 128
_AREA = 4 << 30
#: Where x86-64 has them (Documentation/arch/x86/x86_64/mm.rst); its kernel may begin there too.
_X86_MODULES = 0xFFFF_FFFF_A000_0000, 0xFFFF_FFFF_FF00_0000
_WRAP = 1 << 64
_IN_A_NAME = np.frombuffer(bytes(bool(NAME_FORM.fullmatch(bytes([i, 0]))) for i in range(256)), "?")


def shuffled_ring(memory: Memory, head: int) -> ModuleRing | None:
    """The list of modules at `head`, by its links and names alone; None where none is.

    What it gives is weak where one module is loaded: `types_of_modules` asks for more.

    Args:
        memory: the guest's.
        head: runtime address of the head.
    """
    for order in "<>":
        links = _links(memory, head, order)
        if links:
            starts = [link - REACH for link in links]
            name = _name(windows(memory, starts[:ASKED], 2 * REACH))
            # Before a name a number may end in what looks like its first letter. Where bytes are
            # in the order of this one that is the high byte, which is no letter.
            if name is not None and (order == "<" or name % 8 == 0):
                return ModuleRing(head, tuple(starts), order == "<", REACH, name, None)
    return None


def shuffled_heads_in(
    memory: Memory, data: bytes, start: int, kernel: tuple[int, int]
) -> list[int]:
    """Addresses at which the head of a list may be whose first entry is where modules are.

    Of x86-64 alone, which has an area for modules and nothing else. Elsewhere devices are mapped
    among them, and to read a device may change what it does.

    Args:
        memory: the guest's, in which 16 bytes of each first entry are read.
        data: what was read of it, whole words of 8 bytes.
        start: address of `data`.
        kernel: a range that holds the kernel itself, in which no module is.
    """
    words = np.frombuffer(data, "<u8")
    low, high, first, end = (np.uint64(edge) for edge in (*_X86_MODULES, *kernel))
    links = (words % np.uint64(8) == 0) & (words >= low) & (words < high)
    links &= (words < first) | (words >= end)
    found = np.flatnonzero(links[:-1] & links[1:]).tolist()
    heads = [start + 8 * i for i in found]
    entries = gather(memory, [(int(words[i]), _LINKS) for i in found])
    return [
        head
        for head, entry in zip(heads, entries, strict=True)
        if entry is not None and struct.unpack("<2Q", entry)[1] == head
    ]


def _links(memory: Memory, head: int, order: str) -> list[int]:
    """The entries of a ring of links that lie in one area; none where it is no such ring."""
    form = struct.Struct(order + "2Q")
    found: list[int] = []
    at, before, last = head, head, 0
    while True:
        # Small reads by themselves: each tells what is there now.
        entry = gather(memory, [(at, _LINKS)])[0]
        if entry is None:
            return []
        following, previous = form.unpack(entry)
        if at == head:
            last = previous
        elif previous != before:
            return []
        if following == head:
            return found if at == last else []
        if len(found) >= MOST_MODULES or not REACH <= following < _WRAP - REACH:
            return []
        # Looked at before it is read: what lies elsewhere may be a device.
        first = found[0] if found else following
        if following % 8 or abs(following - first) > _AREA:
            return []
        found.append(following)
        before, at = at, following


def _name(data: list[bytes]) -> int | None:
    """The one offset at which each stretch has a name, all of them different."""
    starts = np.logical_and.reduce([_named(part) for part in data])
    # Behind the first letter of a name begins another, as far as what follows it is zero.
    firsts = np.flatnonzero(starts & ~np.append(False, starts[:-1])).tolist()
    told = []
    for first in firsts:
        names = [part[first : first + NAME_SIZE].rstrip(b"\0") for part in data]
        if len(set(names)) == len(names) and min(map(len, names)) > 1:
            told.append(first)
    return told[0] if len(told) == 1 else None


def _named(data: bytes) -> NDArray[np.bool_]:
    """For each offset whether a name of a module could begin there, filled up with zeros."""
    octets = np.frombuffer(data, np.uint8)
    inside = _IN_A_NAME[octets]
    end = _next_of(~inside)
    filled = _next_of(octets != 0)
    count = len(data) - NAME_SIZE + 1
    at = np.arange(count)
    behind = end[:count]
    return inside[:count] & (behind < at + NAME_SIZE) & (filled[behind] >= at + NAME_SIZE)


def _next_of(wanted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """For each place, and the one behind the last, the next place from there on that is wanted."""
    places = np.where(np.append(wanted, True), np.arange(len(wanted) + 1), len(wanted))
    return np.minimum.accumulate(places[::-1])[::-1]
