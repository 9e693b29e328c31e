"""The container of a recording: a preamble, then frames that each prove themselves whole.

`docs/formats/recording.md` describes it. This file knows frames; `writer` and `reader` know
what is in them.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from io import BytesIO
from typing import Any, BinaryIO

import msgpack
import zstandard

from gprof.errors import FormatError

#: A byte above 0x7f, a carriage return and a line feed show a transfer that took it for text.
MAGIC = b"\x89gprof\r\n"

#: A reader refuses a greater major version and skips what it does not know of a greater minor.
MAJOR, MINOR = 1, 1

#: magic, major, minor, four bytes of zero.
PREAMBLE = struct.Struct("<8sHHI")

#: kind, length of the payload, CRC-32 of kind, length and payload.
FRAME = struct.Struct("<4sII")
_CHECKED = struct.Struct("<4sI")

#: No frame that gprof writes comes near; what claims to be longer is damage or hostile.
LONGEST_PAYLOAD = 32 << 20
LONGEST_CONTENT = 32 << 20
LONGEST_RECORDING = 4 << 30

_WINDOW = 8 << 20
_LEVEL = 3


class Kind(Enum):
    """What a frame holds. Stored: never change or reuse one."""

    HEADER = b"HEAD"
    GUEST = b"GUES"
    IMAGES = b"IMAG"
    SYMBOLS = b"SYMB"
    STACKS = b"STAC"
    TASKS = b"TASK"
    LAYOUTS = b"LAYO"
    USER_SPACES = b"USER"
    USER_SYMBOLS = b"USYM"
    SAMPLES = b"SAMP"
    TEXT = b"TEXT"
    FACTS = b"FACT"
    END = b"END "


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame.

    Attributes:
        kind: what it holds; None for a kind of a later version.
        content: its fields.
        at: where it begins in the file.
    """

    kind: Kind | None
    content: Mapping[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class Damage:
    """The frames end here, before the file does.

    Attributes:
        at: the first byte that belongs to no whole frame.
        what: what is wrong there.
    """

    at: int
    what: str


def preamble() -> bytes:
    """The first bytes of every recording."""
    return PREAMBLE.pack(MAGIC, MAJOR, MINOR, 0)


def pack(kind: Kind, content: Mapping[str, Any]) -> bytes:
    """A frame's bytes."""
    packed: bytes = msgpack.packb(content)
    payload = zstandard.ZstdCompressor(level=_LEVEL).compress(packed)
    if max(len(packed), len(payload)) > LONGEST_CONTENT:
        raise ValueError(f"a frame of {len(packed)} bytes")
    checked = _CHECKED.pack(kind.value, len(payload))
    checksum = zlib.crc32(payload, zlib.crc32(checked))
    return FRAME.pack(kind.value, len(payload), checksum) + payload


def frames(file: BinaryIO, name: str) -> Iterator[Frame | Damage]:
    """The whole frames of a recording; at last a `Damage` where the file goes on after them.

    Args:
        file: at its first byte.
        name: of the file, for sentences.

    Raises:
        FormatError: it is no recording, one of a later version, or a frame that is whole holds
            what no version of gprof wrote.
    """
    _check_preamble(file.read(PREAMBLE.size), name)
    at = PREAMBLE.size
    total = 0
    while header := file.read(FRAME.size):
        if len(header) < FRAME.size:
            yield Damage(at, "the last frame is torn")
            return
        kind, length, checksum = FRAME.unpack(header)
        if length > LONGEST_PAYLOAD:
            yield Damage(at, f"a frame claims to have {length} bytes")
            return
        payload = file.read(length)
        if len(payload) < length:
            yield Damage(at, "the last frame is torn")
            return
        if zlib.crc32(payload, zlib.crc32(_CHECKED.pack(kind, length))) != checksum:
            yield Damage(at, "the checksum of a frame is wrong")
            return
        if kind in _KINDS:
            packed = _decompressed(payload, name, at)
            total += len(packed)
            if total > LONGEST_RECORDING:
                raise damaged(name, at, f"it unfolds to more than {LONGEST_RECORDING >> 30} GiB")
            yield Frame(_KINDS[kind], _unpacked(packed, name, at), at)
        else:
            yield Frame(None, {}, at)
        at += FRAME.size + length


_KINDS = {kind.value: kind for kind in Kind}


def damaged(name: str, at: int, what: str) -> FormatError:
    """The error for content that no version of gprof wrote."""
    return FormatError(
        f"{name} is no valid recording: {what} (frame at byte {at})",
        "Record again; if gprof itself wrote this file, please report it with the file.",
    )


def _check_preamble(found: bytes, name: str) -> None:
    if found.startswith(MAGIC) and len(found) < PREAMBLE.size:
        raise FormatError(
            f"{name} is cut short: it has only {len(found)} bytes",
            "Copy it again and compare the sizes; nothing was recorded in what is there.",
        )
    if not found.startswith(MAGIC):
        raise FormatError(
            f"{name} is not a recording of gprof: it begins with {found[:8].hex(' ') or 'nothing'}",
            "Give a .gprof file that `gprof record` wrote.",
        )
    _, major, minor, _ = PREAMBLE.unpack(found)
    if major != MAJOR:
        raise FormatError(
            f"{name} is a recording in format {major}.{minor}; this gprof reads format {MAJOR}",
            f"Open it with a gprof that reads format {major}, such as the one that recorded it.",
        )


def _decompressed(payload: bytes, name: str, at: int) -> bytes:
    # A one-shot decompress would believe the size that the payload claims.
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(BytesIO(payload))
    try:
        packed: bytes = reader.read(LONGEST_CONTENT + 1)
    except zstandard.ZstdError as error:
        raise damaged(name, at, f"a frame does not decompress, {error}") from None
    if len(packed) > LONGEST_CONTENT:
        raise damaged(name, at, f"a frame unfolds to more than {LONGEST_CONTENT >> 20} MiB")
    return packed


def _unpacked(packed: bytes, name: str, at: int) -> Mapping[str, Any]:
    try:
        content = msgpack.unpackb(packed, max_array_len=1 << 20, max_map_len=1 << 10)
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise damaged(name, at, f"a frame is no msgpack, {type(error).__name__}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise damaged(name, at, "a frame has no named fields")
    return content
