"""The programs that a UEFI firmware says it has loaded: its drivers, boot loaders, a kernel's stub.

The firmware keeps a list for debuggers, DEBUG build or not, which is found by a mark at a multiple
of 4 MiB: UEFI specification 2.10, 18.4 (EFI Debug Support Table). Names come from the debug
directory of each image, or its device path (10.3.5 Media Device Path).
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from symbols.memory import Memory, gather
from symbols.names import printable

_MARK = b"IBI SYST"
_STEP, _HIGHEST = 4 << 20, 16 << 30
#: Places that are read at once, a GiB of memory; and where memory ends: so often none is there.
_AT_ONCE, _MOST_EMPTY = 256, 2
_DEBUG_IMAGES = uuid.UUID("49152e77-1ada-4764-b7a2-7afefed95e8b").bytes_le
#: A firmware has a dozen tables and a hundred images.
_MOST_TABLES, _MOST_IMAGES = 256, 4096
#: Bytes of an optional header with its data directories; of a name and a device path, at most.
_HEADER, _LONGEST, _PATH = 240, 256, 512
_LARGEST = 1 << 30
_CODE_VIEW = 2  # IMAGE_DEBUG_TYPE_CODEVIEW
#: Where the path of a file with symbols begins, by the kind of its record (MdePkg, PeImage.h).
_RECORDS = {b"NB10": 16, b"RSDS": 24, b"MTOC": 20}
_MEDIA, _FILE_PATH, _FIRMWARE_FILE, _END = 4, 4, 6, 0x7F


@dataclass(frozen=True, slots=True)
class Listed:
    """A program that a firmware lists.

    Attributes:
        start: its first address.
        end: the address after its last.
        path: address of its device path; 0 where it has none.
    """

    start: int
    end: int
    path: int


@dataclass(frozen=True, slots=True)
class Described:
    """What a program says of itself.

    Attributes:
        name: of its file with symbols or of its file, without folder and ending; or its GUID.
        entry: address of its first instruction; 0 where its headers do not tell.
    """

    name: str
    entry: int


def find_system_table(memory: Memory) -> int | None:
    """The address of the system table of a UEFI firmware; None where there is none.

    Args:
        memory: the guest's, in which firmware has everything where it physically is.
    """
    places = range(_STEP, _HIGHEST, _STEP)
    empty = 0
    for first in range(0, len(places), _AT_ONCE):
        marks = gather(memory, [(place, 16) for place in places[first : first + _AT_ONCE]])
        for mark in marks:
            if mark is None or not mark.startswith(_MARK):
                continue
            table = int.from_bytes(mark[8:], "little")
            if gather(memory, [(table, len(_MARK))]) == [_MARK]:
                return table
        empty = 0 if any(mark is not None for mark in marks) else empty + 1
        if empty == _MOST_EMPTY:
            break
    return None


def listed(memory: Memory, system_table: int) -> tuple[Listed, ...]:
    """What a firmware lists, by address; nothing where its list is not there any more.

    Args:
        memory: the guest's.
        system_table: see `find_system_table`.
    """
    (head,) = gather(memory, [(system_table, 120)])
    if head is None or not head.startswith(_MARK):
        return ()
    count, tables = struct.unpack_from("<QQ", head, 104)
    (config,) = gather(memory, [(tables, 24 * min(count, _MOST_TABLES))])
    entries = struct.iter_unpack("<16sQ", config or b"")
    debug = next((place for guid, place in entries if guid == _DEBUG_IMAGES), 0)
    (header,) = gather(memory, [(debug, 16)])
    if not debug or header is None:
        return ()
    _, count, table = struct.unpack("<IIQ", header)
    (pointers,) = gather(memory, [(table, 8 * min(count, _MOST_IMAGES))])
    infos = _each(memory, (word for (word,) in struct.iter_unpack("<Q", pointers or b"")), 16)
    # EFI_DEBUG_IMAGE_INFO_NORMAL: its type, and the protocol of the loaded image.
    kinds = [struct.unpack("<I4xQ", info) for info in infos.values()]
    loaded = _each(memory, (place for kind, place in kinds if kind == 1), 80)
    found = [struct.unpack("<32xQ24xQQ", protocol) for protocol in loaded.values()]
    return tuple(
        Listed(base, base + size, path)
        for path, base, size in sorted(found, key=lambda one: one[1])
        if 0 < size <= _LARGEST and base + size <= 1 << 64
    )


def described(memory: Memory, programs: Sequence[Listed]) -> list[Described]:
    """What programs say of themselves; those without a name are called by their address."""
    heads = _headers(memory, [one.start for one in programs])
    paths = _each(memory, [one.path for one in programs], _PATH)
    names = _names(memory, heads)
    return [
        Described(
            names.get(one.start)
            or _name_of_path(paths.get(one.path, b""))
            or f"program at {one.start:#x}",
            one.start + int.from_bytes(heads[one.start][16:20], "little")
            if one.start in heads
            else 0,
        )
        for one in programs
    ]


def _each(memory: Memory, places: Iterable[int], size: int) -> dict[int, bytes]:
    """So many bytes of each place that can be read."""
    distinct = [place for place in dict.fromkeys(places) if 0 < place < 1 << 64]
    read = gather(memory, [(place, size) for place in distinct])
    return {place: data for place, data in zip(distinct, read, strict=True) if data is not None}


def _headers(memory: Memory, programs: Sequence[int]) -> dict[int, bytes]:
    """The optional headers of PE32+ files (PE format, 2.4), by where they are."""
    begin = _each(memory, programs, 64)
    places = {
        program: program + int.from_bytes(head[60:], "little")
        for program, head in begin.items()
        if head.startswith(b"MZ")
    }
    heads = _each(memory, places.values(), 24 + _HEADER)
    found = {program: heads.get(place, b"") for program, place in places.items()}
    return {
        program: head[24:]
        for program, head in found.items()
        if head.startswith(b"PE\0\0") and head[24:26] == b"\x0b\x02"
    }


def _names(memory: Memory, heads: dict[int, bytes]) -> dict[int, str]:
    """The names of programs by their debug directories, by where they are."""
    directories: dict[int, int] = {}
    for base, head in heads.items():
        place, size = struct.unpack_from("<II", head, 112 + 6 * 8)
        if size >= 28:
            directories[base] = base + place
    entries = _each(memory, directories.values(), 28)
    records: dict[int, int] = {}
    for base, place in directories.items():
        entry = entries.get(place)
        if entry is not None and struct.unpack_from("<I", entry, 12)[0] == _CODE_VIEW:
            records[base] = base + int(struct.unpack_from("<I", entry, 20)[0])
    texts = _each(memory, records.values(), _LONGEST)
    found: dict[int, str] = {}
    for base, place in records.items():
        text = texts.get(place, b"")
        begin = _RECORDS.get(text[:4])
        if begin is not None:
            found[base] = _stem(text[begin:].split(b"\0", 1)[0].decode("utf-8", "replace"))
    return found


def _name_of_path(path: bytes) -> str:
    """What a device path ends with: a file's name, or the GUID of a firmware's file."""
    name, at = "", 0
    while at + 4 <= len(path) and path[at] & 0x7F != _END:
        kind, sub = path[at], path[at + 1]
        length = int.from_bytes(path[at + 2 : at + 4], "little")
        data = path[at + 4 : at + length]
        if kind == _MEDIA and sub == _FILE_PATH:
            name = _stem(data.decode("utf-16-le", "replace").split("\0", 1)[0])
        elif kind == _MEDIA and sub == _FIRMWARE_FILE and len(data) == 16:
            name = str(uuid.UUID(bytes_le=data))
        if length < 4:
            break
        at += length
    return name


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return printable(name.rsplit(".", 1)[0] or name)
