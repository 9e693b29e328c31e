"""Data of a kernel whose own table of symbols lists functions alone.

So it is without CONFIG_KALLSYMS_ALL, as in Debian's kernels for arm64 and s390x up to 6.1. Of the
data three things are looked for, each of which proves itself: the banner, the description of the
kernel's types (BTF), and the list of modules. Read-only data follows the text on every
architecture, and what can be written follows that.

The kernel's own table of symbols comes before the types (RO_DATA in the kernel's
include/asm-generic/vmlinux.lds.h) and right behind the banner, since both are linked last
(scripts/link-vmlinux.sh of Linux 6.2; so in Debian's 6.1). What lies before the table is searched
only for what is not there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Set as AbstractSet

from symbols.btf import btf_size
from symbols.guest_identity import banner_at
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory, MemoryFault, gather, with_holes
from symbols.module_ring import heads_in, module_ring
from symbols.module_types import types_of_modules
from symbols.shuffled_ring import shuffled_heads_in

#: How far behind its text a kernel's data is searched: Debian's arm64 has the list 13 MiB behind,
#: with 4 MiB of types, which are not searched, and 4 MiB of holes before it.
_REACH = 32 << 20
#: A longer hole than this is no part of a kernel: Debian's arm64 has one of 4 MiB, of the text and
#: data that it needs to boot alone.
_LONGEST_HOLE = 8 << 20
_CHUNK = 64 << 10
#: Of a chunk, what is searched again together with the next one.
_OVERLAP = 64
_WORD = 8
#: A list of modules may change while it is walked.
_ATTEMPTS = 3
#: Lists that begin where modules are; they are followed where none has the usual form.
_MOST_LISTS = 1024

_BANNER = re.compile(rb"Linux version [0-9]")
#: A header of BTF as pahole writes it, in either byte order: magic, version, flags, its length,
#: and the types right behind it.
_TYPES = re.compile(
    rb"\x9f\xeb\x01\x00\x18\x00\x00\x00\x00\x00\x00\x00"
    rb"|\xeb\x9f\x01\x00\x00\x00\x00\x18\x00\x00\x00\x00"
)
_HEADER_SIZE = 24
#: What lies in read-only data.
_BEFORE_MODULES = frozenset({"linux_banner", "__start_BTF"})
#: Data that every kernel has, and lists if it lists any.
_DATA = "init_task"


def unlisted_data(memory: Memory, kallsyms: Kallsyms, table: int | None = None) -> dict[str, int]:
    """Runtime addresses of `linux_banner`, `__start_BTF` and `modules`, as far as they are found.

    What is known already is left out; nothing is looked for where the list of modules is, or where
    the table lists data.

    Reads what follows the table up to the list of modules, types apart: 2 MiB of Debian's arm64.
    Where no module is loaded there is no list to be told from other data, and all is read up to a
    long hole, or 32 MiB behind the text.

    Args:
        memory: the guest's.
        kallsyms: its own, at runtime addresses.
        table: where the kernel has them, if that is known.
    """
    if not lacks_modules(kallsyms):
        return {}
    known = {
        name: place for name in _BEFORE_MODULES
        if (place := kallsyms.address_of(name)) is not None
    }  # fmt: skip
    text = kallsyms.text[1] // _CHUNK * _CHUNK
    end = min(text + _REACH, (1 << 64) - _CHUNK)
    start = min(max(text, table or 0, *known.values()) // _CHUNK * _CHUNK, end)
    found: dict[str, int] = {}
    seen = _search(memory, start, end, {"modules"}, found)
    if "modules" not in found:
        kernel = kallsyms.text[0], end
        heads = (head for at, data in seen for head in shuffled_heads_in(memory, data, at, kernel))
        # Those of a kernel that shuffles its structures have to prove more.
        some = itertools.islice(heads, _MOST_LISTS)
        proven = next((head for head in some if types_of_modules(memory, head)), None)
        if proven is not None:
            found["modules"] = proven
    _search(memory, text, start, _BEFORE_MODULES - known.keys(), found)
    return {name: place for name, place in found.items() if name not in known}


def lacks_modules(kallsyms: Kallsyms) -> bool:
    """Whether the list of modules is to be looked for: data is not listed, nor was it found."""
    known = any(kallsyms.address_of(name) is not None for name in ("modules", _DATA))
    return kallsyms.text[0] != 0 and not known


def _search(
    memory: Memory, at: int, end: int, wanted: AbstractSet[str], found: dict[str, int]
) -> list[tuple[int, bytes]]:
    """Look through a stretch of memory until all that is wanted is found.

    Returns:
        What was looked at: address and bytes of each piece.
    """
    seen: list[tuple[int, bytes]] = []
    before = b""
    while at < end and wanted - found.keys():
        chunk = with_holes(memory, at, _CHUNK)
        if not chunk:
            at, before = _behind_hole(memory, at, end), b""
            continue
        seen.append((at - len(before), before + chunk))
        behind = _look(memory, before + chunk, at - len(before), found)
        before = chunk[-_OVERLAP:]
        at += _CHUNK
        if behind > at:
            at, before = behind // _CHUNK * _CHUNK, b""
    return seen


def _behind_hole(memory: Memory, hole: int, end: int) -> int:
    """Where memory goes on; `end` where it does not for long."""
    places = range(hole + _CHUNK, min(hole + _LONGEST_HOLE, end), _CHUNK)
    words = gather(memory, [(place, _WORD) for place in places])
    return next((at for at, word in zip(places, words, strict=True) if word is not None), end)


def _look(memory: Memory, data: bytes, start: int, found: dict[str, int]) -> int:
    """Take in what a stretch of memory has; the address behind the types where they are in it."""
    behind = 0
    if "linux_banner" not in found:
        for match in _BANNER.finditer(data):
            if banner_at(memory, start + match.start()):
                found["linux_banner"] = start + match.start()
                break
    if "__start_BTF" not in found:
        for match in _TYPES.finditer(data):
            at = start + match.start()
            try:
                size = btf_size(memory.read(at, _HEADER_SIZE))
            except MemoryFault:
                continue
            if size is not None:
                found["__start_BTF"], behind = at, at + size
                break
    for head in heads_in(memory, data, start):
        if any(module_ring(memory, head) is not None for _ in range(_ATTEMPTS)):
            found["modules"] = head
            break
    return behind
