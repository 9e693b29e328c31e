"""Where the sections of a loaded module are, and its build id, as the kernel keeps them for /sys.

`struct module` points to what makes /sys/module/NAME/sections and /sys/module/NAME/notes; see
kernel/module/sysfs.c. The name of a section moved in Linux 5.8 (commit ed66f991bb19), and all of
it in 6.14, when both became null-terminated arrays of `struct bin_attribute`.
"""

from __future__ import annotations

from collections.abc import Iterator

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import MemoryFault
from symbols.names import printable
from symbols.notes import gnu_build_id
from symbols.structures import Record, Structures

_WRAP = 1 << 64
_MOST_SECTIONS = 1024
_LARGEST_NOTE = 64 << 10


def module_sections(structures: Structures, module: int) -> dict[str, int]:
    """Runtime addresses of a module's sections, by name; none where they cannot be read.

    Args:
        structures: the guest's memory and types.
        module: address of its `struct module`.
    """
    sections: dict[str, int] = {}
    try:
        attributes = _pointed(structures, module, "sect_attrs")
        if attributes is None:
            return {}
        for name, address in _sections(structures, attributes):
            sections.setdefault(printable(structures.text(name)), address)
    except (MemoryFault, BtfError, IntrospectionError):
        pass  # what was found is right; a file of the module fits or does not
    return sections


def module_build_id(structures: Structures, module: int) -> bytes:
    """The GNU build id of a loaded module; empty where it has none or it cannot be read.

    Args:
        structures: the guest's memory and types.
        module: address of its `struct module`.
    """
    try:
        attributes = _pointed(structures, module, "notes_attrs")
        if attributes is None:
            return b""
        for record in _notes(structures, attributes):
            size = record.number("size")
            if not 0 < size <= _LARGEST_NOTE:
                continue
            notes = structures.memory.read(record.number("private"), size)
            found = gnu_build_id(notes, little_endian=structures.btf.little_endian)
            if found:
                return found
    except (MemoryFault, BtfError, IntrospectionError):
        pass
    return b""


def _pointed(structures: Structures, module: int, member: str) -> int | None:
    """What a pointer in a module points to; None for nothing, or no such member."""
    if not structures.has("module", member):
        return None
    place, _ = structures.member("module", member)
    return structures.pointer(module + place.offset) or None


def _sections(structures: Structures, attributes: int) -> Iterator[tuple[int, int]]:
    """For each section the address of its name and its own."""
    if not structures.has("module_sect_attrs", "nsections"):
        for record in _attributes(structures, attributes, "module_sect_attrs"):
            yield record.number("attr.name"), record.number("private")
        return
    name = "battr.attr.name" if structures.has("module_sect_attr", "battr") else "name"
    count = structures.at(attributes, "module_sect_attrs").number("nsections")
    first, _ = structures.member("module_sect_attrs", "attrs")
    step = structures.size("module_sect_attr")
    for i in range(min(count, _MOST_SECTIONS)):
        address = (attributes + first.offset + i * step) % _WRAP
        record = structures.at(address, "module_sect_attr")
        yield record.number(name), record.number("address")


def _notes(structures: Structures, attributes: int) -> Iterator[Record]:
    """The attribute of each section of notes."""
    if not structures.has("module_notes_attrs", "notes"):
        yield from _attributes(structures, attributes, "module_notes_attrs")
        return
    count = structures.at(attributes, "module_notes_attrs").number("notes")
    first, _ = structures.member("module_notes_attrs", "attrs")
    step = structures.size("bin_attribute")
    for i in range(min(count, _MOST_SECTIONS)):
        yield structures.at((attributes + first.offset + i * step) % _WRAP, "bin_attribute")


def _attributes(structures: Structures, attributes: int, owner: str) -> Iterator[Record]:
    """The attributes that a group points to, up to the null at its end (Linux 6.14)."""
    group, _ = structures.member(owner, "grp.bin_attrs")
    at = structures.pointer(attributes + group.offset)
    for i in range(_MOST_SECTIONS):
        attribute = structures.pointer(at + 8 * i)
        if not attribute:
            return
        yield structures.at(attribute, "bin_attribute")
