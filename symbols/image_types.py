"""The description of its types (BTF) that a kernel's file carries, parsed once."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from symbols.btf import LARGEST, Btf
from symbols.elf import Image
from symbols.memory import MemoryFault

#: A file's bytes are read in pieces of at most this.
_AT_ONCE = 1 << 20

_parsed: WeakKeyDictionary[Image, Btf] = WeakKeyDictionary()


def types_in(image: Image) -> Btf | None:
    """The types that a kernel's file describes; None where it has no such section.

    Raises:
        BtfError: the section holds something else.
    """
    if image in _parsed:
        return _parsed[image]
    section = image.section(".BTF")
    if section is None or not section.in_file or section.size > LARGEST:
        return None
    end = section.address + section.size
    try:
        data = b"".join(
            image.read(at, min(_AT_ONCE, end - at)) for at in range(section.address, end, _AT_ONCE)
        )
    except MemoryFault:
        return None
    _parsed[image] = Btf.parse(data)
    return _parsed[image]
