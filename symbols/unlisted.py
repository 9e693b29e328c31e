"""Data of a kernel whose own table of symbols lists functions alone.

So it is without CONFIG_KALLSYMS_ALL, as in Debian's kernels for arm64 and s390x up to 6.1. Of the
data three things are looked for, each of which proves itself: the banner, the description of the
kernel's types (BTF), and the list of modules. Read-only data follows the text on every
architecture, and what can be written follows that.
"""

from __future__ import annotations

import re

from symbols.btf import btf_size
from symbols.guest_identity import banner_at
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory, MemoryFault, with_holes
from symbols.module_ring import heads_in, module_ring

#: How far behind its text a kernel's data is searched: Debian's arm64 has the list 13 MiB behind,
#: with 4 MiB of types, which are not searched, and 4 MiB of holes before it.
_REACH = 32 << 20
#: A longer hole than this is no part of a kernel: Debian's arm64 has one of 4 MiB, of the text and
#: data that it needs to boot alone.
_LONGEST_HOLE = 8 << 20
_CHUNK = 64 << 10
#: Of a chunk, what is searched again together with the next one.
_OVERLAP = 64
#: A list of modules may change while it is walked.
_ATTEMPTS = 3

_BANNER = re.compile(rb"Linux version [0-9]")
#: A header of BTF as pahole writes it, in either byte order: magic, version, flags, its length,
#: and the types right behind it.
_TYPES = re.compile(
    rb"\x9f\xeb\x01\x00\x18\x00\x00\x00\x00\x00\x00\x00"
    rb"|\xeb\x9f\x01\x00\x00\x00\x00\x18\x00\x00\x00\x00"
)
_HEADER_SIZE = 24
#: Data that every kernel has, and lists if it lists any.
_DATA = "init_task"


def unlisted_data(memory: Memory, kallsyms: Kallsyms) -> dict[str, int]:
    """Runtime addresses of `linux_banner`, `__start_BTF` and `modules`, as far as they are found.

    What is known already is left out; nothing is looked for where the list of modules is, or where
    the table lists data.

    Reads what follows the kernel's text up to the list of modules, types apart: 5 MiB of
    Debian's arm64, and 4 of its s390x. Where no module is loaded there is no list to be told
    from other data, and all is read up to a long hole, or 32 MiB.

    Args:
        memory: the guest's.
        kallsyms: its own, at runtime addresses.
    """
    if not lacks_modules(kallsyms):
        return {}
    found: dict[str, int] = {}
    start = kallsyms.text[1]
    at = start // _CHUNK * _CHUNK
    end = min(at + _REACH, (1 << 64) - _CHUNK)
    before, hole = b"", 0
    while at < end and hole < _LONGEST_HOLE and "modules" not in found:
        chunk = with_holes(memory, at, _CHUNK)
        hole = 0 if chunk else hole + _CHUNK
        data = before + chunk
        behind = _look(memory, data, at - len(before), found)
        before = chunk[-_OVERLAP:]
        at += _CHUNK
        if behind > at:
            at, before = behind // _CHUNK * _CHUNK, b""
    return {name: place for name, place in found.items() if kallsyms.address_of(name) is None}


def lacks_modules(kallsyms: Kallsyms) -> bool:
    """Whether the list of modules is to be looked for: data is not listed, nor was it found."""
    known = any(kallsyms.address_of(name) is not None for name in ("modules", _DATA))
    return kallsyms.text[0] != 0 and not known


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
