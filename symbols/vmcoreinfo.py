"""VMCOREINFO: the few facts that a kernel writes down about itself for crash tools.

Lines of `KEY=VALUE`, such as `SYMBOL(_stext)=ffffffff81000000`, in an ELF note of the owner
VMCOREINFO; see Linux's Documentation/admin-guide/kdump/vmcoreinfo.rst and kernel/vmcore_info.c
(kernel/crash_core.c before 6.9). The note begins on a page of its own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from symbols.errors import IntrospectionError
from symbols.memory import Memory, MemoryFault
from symbols.names import printable

#: A note is a page at most (VMCOREINFO_BYTES), and no page is larger.
_LARGEST = 64 << 10
_OWNER = b"VMCOREINFO\0"
_HEAD = 24  # three words, and the owner padded to a word
_KEY = re.compile(r"(SYMBOL|SIZE|OFFSET|LENGTH|NUMBER)\(([^()]{1,200})\)")


@dataclass(frozen=True, slots=True)
class Vmcoreinfo:
    """What one note says.

    Attributes:
        release: what `uname -r` prints; empty where it is not said.
        build_id: as the kernel found it. Some stable releases of 2024 wrote garbage here (6.11.3
            to 6.11.9, 6.6.55 to 6.6.62, and others), so it proves nothing by itself.
        page_size: in bytes; 0 where it is not said.
        slide: KERNELOFFSET, modulo 2^64; None where the kernel cannot move or does not say.
        symbols: runtime addresses.
        sizes: of structures, in bytes.
        offsets: of members, by `structure.member`.
        lengths: of arrays.
        numbers: constants and variables.
    """

    release: str
    build_id: bytes
    page_size: int
    slide: int | None
    symbols: Mapping[str, int]
    sizes: Mapping[str, int]
    offsets: Mapping[str, int]
    lengths: Mapping[str, int]
    numbers: Mapping[str, int]

    @classmethod
    def parse(cls, text: bytes) -> Vmcoreinfo:
        """The facts of a text; lines that are none are passed over.

        Raises:
            IntrospectionError: the text has not one fact.
        """
        plain: dict[str, str] = {}
        typed: dict[str, dict[str, int]] = {
            kind: {} for kind in ("SYMBOL", "SIZE", "OFFSET", "LENGTH", "NUMBER")
        }
        for line in text[:_LARGEST].split(b"\0", 1)[0].split(b"\n"):
            key, equals, value = line.decode("utf-8", "backslashreplace").partition("=")
            if not equals:
                continue
            found = _KEY.fullmatch(key)
            if found is None:
                plain.setdefault(printable(key), printable(value))
                continue
            number = _number(value, hexadecimal=found[1] == "SYMBOL")
            if number is not None:
                typed[found[1]].setdefault(printable(found[2]), number)
        if not plain and not any(typed.values()):
            raise IntrospectionError("the text is no VMCOREINFO: it has no line KEY=VALUE")
        slide = _number(plain.get("KERNELOFFSET", ""), hexadecimal=True)
        return cls(
            release=plain.get("OSRELEASE", ""),
            build_id=_bytes(plain.get("BUILD-ID", "")),
            page_size=max(0, _number(plain.get("PAGESIZE", ""), hexadecimal=False) or 0),
            slide=slide,
            symbols=typed["SYMBOL"],
            sizes=typed["SIZE"],
            offsets=typed["OFFSET"],
            lengths=typed["LENGTH"],
            numbers=typed["NUMBER"],
        )


def vmcoreinfo_at(memory: Memory, address: int) -> Vmcoreinfo | None:
    """The note at an address; None where there is none.

    Args:
        memory: the guest's.
        address: where the note begins, such as what `vmcoreinfo_note` points to.
    """
    try:
        size = _text_size(memory.read(address, _HEAD))
        if size is None:
            return None
        return Vmcoreinfo.parse(memory.read(address + _HEAD, size))
    except (MemoryFault, IntrospectionError):
        return None


def find_vmcoreinfo(
    memory: Memory, ranges: Iterable[tuple[int, int]], *, page_size: int = 4096
) -> Iterator[Vmcoreinfo]:
    """The notes of kernels in some memory, looked for at the start of each page.

    Memory may hold notes of a kernel before, or pages of files that look like one: only a note
    that says where its text begins counts, and who asks must prove the rest.

    Args:
        memory: the guest's, quick to read: a page costs a read.
        ranges: (start, end) of what to search, multiples of `page_size`.
        page_size: of the guest, or a divisor of it.
    """
    for start, end in ranges:
        for page in range(start, end, page_size):
            found = vmcoreinfo_at(memory, page)
            if found is not None and found.release and "_stext" in found.symbols:
                yield found


def _text_size(head: bytes) -> int | None:
    """How long the text behind the head of a note is; None if it is the head of none."""
    if head[12:23] != _OWNER:
        return None
    for order in "<>":
        name, size, _ = struct.unpack_from(order + "III", head)
        if name == len(_OWNER) and 0 < size <= _LARGEST:
            return int(size)
    return None


def _number(text: str, *, hexadecimal: bool) -> int | None:
    """Symbols and KERNELOFFSET are bare hexadecimal digits; other numbers tell by `0x`."""
    if len(text) > 40:
        return None
    try:
        if hexadecimal or text.startswith(("0x", "-0x")):
            return int(text, 16) % (1 << 64)
        return int(text, 10)
    except ValueError:
        return None


def _bytes(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits) if len(digits) <= 128 else b""
    except ValueError:
        return b""
