"""The types that a list of modules is read with, of a kernel that does not describe its own."""

from __future__ import annotations

from symbols.btf import Btf
from symbols.btf_writing import BtfWriting
from symbols.memory import Memory, windows
from symbols.module_layout import KINDS, ModulePlaces, places_of
from symbols.module_ring import NAME_SIZE, ModuleRing, module_ring
from symbols.shuffled_ring import ASKED, REACH, shuffled_ring

_WRAP = 1 << 64
_INT, _POINTER, _ARRAY, _STRUCT, _ENUM = 1, 2, 3, 4, 6


def types_of_modules(memory: Memory, head: int) -> Btf | None:
    """The types that a list of modules is read with; None where they cannot be told.

    Where a kernel shuffles its structures they count from a place within a module, and do not
    tell its state.

    Args:
        memory: the guest's.
        head: runtime address of the list.
    """
    found = None
    for known in (module_ring, shuffled_ring):
        ring = known(memory, head)
        places = _places(memory, ring) if ring is not None else None
        if ring is None or places is None:
            continue
        found = found or (ring, places)
        # A shuffled structure may look like the usual one where its links are.
        if places.kallsyms is not None:
            found = ring, places
            break
    return _described(*found) if found is not None else None


def _places(memory: Memory, ring: ModuleRing) -> ModulePlaces | None:
    # In a shuffled structure the links are anywhere.
    span = REACH if ring.state is not None else 2 * REACH
    asked = ring.modules[:ASKED]
    return places_of(ring, windows(memory, asked, span)) if max(asked) + span < _WRAP else None


def _described(ring: ModuleRing, places: ModulePlaces) -> Btf:
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
    parts = {b"base": (pointer, 0), b"size": (number, places.size)}
    if places.step:
        part = structure(b"module_memory", places.step, parts)
        held = b"mem", written.add(0, _ARRAY << 24, 0, part, number, KINDS)
        text = written.string(b"MOD_TEXT")
        written.add(written.string(b"mod_mem_type"), _ENUM << 24 | 1, 4, text, 0)
    else:
        held = b"core_layout", structure(b"module_layout", 24, parts)
    members = {
        b"list": (links, ring.link), b"name": (name, ring.name), held[0]: (held[1], places.base),
    }  # fmt: skip
    if ring.state is not None:
        members[b"state"] = number, ring.state
    if places.kallsyms is not None:
        kept = {b"symtab": (pointer, 0), b"num_symtab": (number, 8), b"strtab": (pointer, 16)}
        if places.typed:
            kept[b"typetab"] = (pointer, 24)
        structure(b"mod_kallsyms", 8 * len(kept), kept)
        members[b"kallsyms"] = pointer, places.kallsyms
    # A module is read as a whole: no more of what lies around it than what is known.
    first = min(offset for _, offset in members.values())
    sizes = {b"name": NAME_SIZE, b"list": 16, held[0]: max(KINDS * places.step, 24)}
    size = max(offset + sizes.get(member, 8) for member, (_, offset) in members.items()) - first
    placed = {member: (kind, offset - first) for member, (kind, offset) in members.items()}
    structure(b"module", size, placed)
    return Btf.parse(written.content())
