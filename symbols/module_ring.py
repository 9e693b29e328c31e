"""The kernel's list of modules, known by nothing but its own form.

`modules` is a `struct list_head` from which a ring of `struct module` leads back to it, each entry
pointing to the one before and the one behind. In every kernel of 64 bits since Linux 2.6 a
structure begins with its state, the links and 56 bytes of name (include/linux/module.h). A kernel
that shuffles its structures (CONFIG_RANDSTRUCT) has them elsewhere: see symbols/shuffled_ring.py.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

import numpy as np

from symbols.memory import Memory, gather

#: Offsets of the links and of the name in `struct module`, and the bytes that tell a module.
LINK, NAME, NAME_SIZE = 8, 24, 56
HEAD_SIZE = NAME + NAME_SIZE
#: Its state, nothing, the next and the one before, the name; by byte order.
_FORMS = {order: struct.Struct(order + "II2Q56s") for order in "<>"}
_HIGHEST_STATE = 3  # MODULE_STATE_UNFORMED
MOST_MODULES = 4096
#: What KBUILD_MODNAME can be, filled up with zeros.
NAME_FORM = re.compile(rb"[A-Za-z0-9_-]+\0+")

#: A module begins where a line of the cache does; none lies below 4 GiB, and all lie in one area.
_LINE = np.uint64(64)
_LOWEST = np.uint64(1 << 32)
_AREA = np.uint64(4 << 30)


@dataclass(frozen=True, slots=True)
class ModuleRing:
    """A list of modules that leads back to its head.

    Attributes:
        head: its address, that of the symbol `modules`.
        modules: the address that the offsets of each module count from, in the order of the list;
            that of its `struct module` where that is known; at least one.
        little_endian: the guest's byte order.
        link: offset of a module's links.
        name: offset of its name.
        state: offset of its state; None where that is not known.
    """

    head: int
    modules: tuple[int, ...]
    little_endian: bool
    link: int = LINK
    name: int = NAME
    state: int | None = 0


def module_ring(memory: Memory, head: int) -> ModuleRing | None:
    """The list of modules at `head`; None where none is, or an empty one, which looks like any.

    Args:
        memory: the guest's.
        head: runtime address of the head.
    """
    for order, form in _FORMS.items():
        found = _walked(memory, head, form)
        if found:
            return ModuleRing(head, found, order == "<")
    return None


def heads_in(memory: Memory, data: bytes, start: int) -> list[int]:
    """Addresses at which the head of a list of modules may be: its first entry looks like one.

    Args:
        memory: the guest's, in which first entries are read, 80 bytes of each.
        data: what was read of it, whole words of 8 bytes.
        start: address of `data`.
    """
    heads, spans = [], []
    for order, form in _FORMS.items():
        words = np.frombuffer(data, order + "u8").astype(np.uint64)
        links = (words % _LINE == LINK) & (words >= _LOWEST)
        first, last = words[:-1], words[1:]
        near = np.maximum(first, last) - np.minimum(first, last) < _AREA
        for i in np.flatnonzero(links[:-1] & links[1:] & near).tolist():
            heads.append((start + 8 * i, form))
            spans.append((int(first[i]) - LINK, HEAD_SIZE))
    return [
        head
        for (head, form), entry in zip(heads, gather(memory, spans), strict=True)
        if entry is not None and _next(entry, head, form) is not None
    ]


def _walked(memory: Memory, head: int, form: struct.Struct) -> tuple[int, ...]:
    """The entries of the ring; none where it is no ring of modules."""
    found: list[int] = []
    # Small reads by themselves: each tells what is there now.
    links = gather(memory, [(head, 16)])[0]
    if links is None:
        return ()
    at, last = struct.unpack(form.format[:1] + "2Q", links)
    before = head
    while at != head:
        module = at - LINK
        entry = gather(memory, [(module, HEAD_SIZE)])[0] if module >= 0 else None
        following = _next(entry, before, form) if entry is not None else None
        if following is None or len(found) >= MOST_MODULES:
            return ()
        found.append(module)
        before, at = at, following
    return tuple(found) if before == last else ()


def _next(entry: bytes, before: int, form: struct.Struct) -> int | None:
    """Where the list goes on behind an entry; None where that is no module behind `before`."""
    state, _, following, previous, name = form.unpack(entry)
    if state > _HIGHEST_STATE or previous != before or not NAME_FORM.fullmatch(name):
        return None
    return int(following)
