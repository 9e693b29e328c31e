"""The kernel's types out of the debugging information of its vmlinux, where it has no BTF.

Debian's kernels for s390x are built so. Of DWARF's thousands of compilation units five are read,
those of some functions that work on the structures that we ask for. What they say is put into the
form of BTF, which everything else reads. Tags and attributes: DWARF 5,
chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from elftools.common.exceptions import DWARFError
from elftools.elf.elffile import ELFFile

from symbols.btf import Btf
from symbols.btf_writing import BtfWriting
from symbols.dwarf_units import units_at
from symbols.elf import MALFORMED, Image
from symbols.errors import BtfError
from symbols.names import printable

#: A function of each unit. Modules and tasks: kernel/module/main.c and kernel/module/sysfs.c since
#: Linux 5.19, kernel/module.c before. What processes have mapped: fs/d_path.c, lib/maple_tree.c
#: since Linux 6.1, and lib/xarray.c.
_FUNCTIONS = ("find_module", "mod_sysfs_setup", "d_path", "mas_walk", "xas_load")
_MOST_ENTRIES = 1 << 20

#: Kinds of BTF; see symbols/btf.py.
_INT, _POINTER, _ARRAY, _STRUCT, _UNION, _ENUM, _FORWARD, _TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
_KINDS = {
    "DW_TAG_base_type": _INT,
    "DW_TAG_pointer_type": _POINTER,
    "DW_TAG_array_type": _ARRAY,
    "DW_TAG_structure_type": _STRUCT,
    "DW_TAG_union_type": _UNION,
    "DW_TAG_enumeration_type": _ENUM,
    "DW_TAG_typedef": _TYPEDEF,
    "DW_TAG_const_type": 10,
    "DW_TAG_volatile_type": 9,
    "DW_TAG_restrict_type": 11,
}
#: What a file may hold in place of a type.
_MALFORMED = (*MALFORMED, DWARFError, AssertionError, RecursionError)


_parsed: WeakKeyDictionary[Image, Btf | None] = WeakKeyDictionary()


def types_of_debugging(image: Image) -> Btf | None:
    """The kernel's types as far as its modules, its tasks and what they have mapped need them.

    Takes seconds, once a file: the tables of a distribution's kernel are 100 MB.

    Returns:
        None where the file has no debugging information of them.

    Raises:
        BtfError: what it has is damaged.
    """
    if image not in _parsed:
        _parsed[image] = _read(image)
    return _parsed[image]


def _read(image: Image) -> Btf | None:
    section = image.section(".debug_info")
    if section is None or not section.in_file:
        return None
    addresses = [address for name in _FUNCTIONS if (address := image.address_of(name)) is not None]
    try:
        with image.reopened() as stream:
            dwarf = ELFFile(stream).get_dwarf_info(relocate_dwarf_sections=False)
            units = units_at(dwarf, addresses)
            if not units:
                return None
            written = _Written(little_endian=image.little_endian)
            for unit in units:
                written.add(unit)
    except _MALFORMED as malformed:
        raise BtfError(
            f"the debugging information of {image.path} is damaged: {printable(str(malformed))}",
            "Copy the file again and compare the sizes.",
        ) from None
    return Btf.parse(written.content())


class _Written:
    """The types of some compilation units, as BTF."""

    def __init__(self, *, little_endian: bool) -> None:
        self._written = BtfWriting(little_endian=little_endian)

    def content(self) -> bytes:
        """See `BtfWriting.content`."""
        return self._written.content()

    def add(self, unit: Any) -> None:
        """The types of one compilation unit."""
        found = []
        for number, entry in enumerate(unit.iter_DIEs()):
            if number > _MOST_ENTRIES:
                raise ValueError("a compilation unit has no end")
            if entry.tag in _KINDS:
                found.append(entry)
        numbers = {entry.offset: self._written.count + i for i, entry in enumerate(found, 1)}
        for entry in found:
            self._written.add(*self._record(entry, numbers))

    def _record(self, entry: Any, numbers: dict[int, int]) -> list[int]:
        kind = _KINDS[entry.tag]
        name, size = self._name(entry), _number(entry, "DW_AT_byte_size")
        if kind in {_STRUCT, _UNION} and "DW_AT_declaration" in entry.attributes:
            return [name, _FORWARD << 24, 0]
        if kind in {_STRUCT, _UNION}:
            members = list(self._members(entry, numbers))
            flag = 1 << 31  # places of members have the width of bit fields in them
            return [name, kind << 24 | len(members) // 3 | flag, size, *members]
        if kind == _ENUM:
            values = [
                word
                for one in entry.iter_children()
                if one.tag == "DW_TAG_enumerator"
                for word in (self._name(one), _number(one, "DW_AT_const_value") & 0xFFFFFFFF)
            ]
            return [name, kind << 24 | len(values) // 2, size, *values]
        if kind == _ARRAY:
            return [0, kind << 24, 0, _referred(entry, numbers), 0, _elements(entry)]
        if kind == _INT:
            return [name, kind << 24, size, 8 * size]
        return [name, kind << 24, _referred(entry, numbers)]

    def _members(self, entry: Any, numbers: dict[int, int]) -> Iterator[int]:
        for one in entry.iter_children():
            if one.tag != "DW_TAG_member":
                continue
            bits = 8 * _number(one, "DW_AT_data_member_location")
            bits += _number(one, "DW_AT_data_bit_offset")
            width = _number(one, "DW_AT_bit_size")
            yield self._name(one)
            yield _referred(one, numbers)
            yield bits & 0xFFFFFF | (width & 0xFF) << 24

    def _name(self, entry: Any) -> int:
        attribute = entry.attributes.get("DW_AT_name")
        return self._written.string(bytes(attribute.value) if attribute is not None else b"")


def _number(entry: Any, attribute: str) -> int:
    """The value of an attribute that is a number, else 0."""
    found = entry.attributes.get(attribute)
    return found.value if found is not None and isinstance(found.value, int) else 0


def _referred(entry: Any, numbers: dict[int, int]) -> int:
    """The number of the type that an entry refers to; 0, void, where it is none we keep."""
    found = entry.attributes.get("DW_AT_type")
    if found is None:
        return 0
    base = 0 if found.form == "DW_FORM_ref_addr" else entry.cu.cu_offset
    return numbers.get(found.value + base, 0)


def _elements(entry: Any) -> int:
    """How many elements an array has, of all dimensions; 0 where it has no bound."""
    count = 1
    for one in entry.iter_children():
        if one.tag == "DW_TAG_subrange_type":
            if "DW_AT_count" in one.attributes:
                count *= _number(one, "DW_AT_count")
            else:
                count *= _number(one, "DW_AT_upper_bound") + ("DW_AT_upper_bound" in one.attributes)
    return count & 0xFFFFFFFF
