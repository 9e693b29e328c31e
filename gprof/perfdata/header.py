"""The head of a perf.data: which of its shapes it has, its byte order, where its parts lie.

Source: struct perf_file_header and perf_pipe_file_header in tools/perf/util/header.h, and
perf_header__adds_* and check_magic_endian in header.c, of Linux 6.12.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.errors import PerfDataError

_MAGIC = b"PERFILE2"
_OLD_MAGIC = b"PERFFILE"
#: Magic and size, all that a pipe begins with.
PIPE_SIZE = 16
FILE_SIZE = 104
#: The header of version 1 had no features at first: magic, size, attr_size, three sections.
_SHORTEST_FILE_SIZE = 72


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the file, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes say.

    Attributes:
        order: byte order of everything in the file.
        pipe: the file is a stream of records that describes itself, even when it lies on disk.
        version: 2, or 1 for the format of before 2012.
        size: bytes of the header itself.
        attribute_size: bytes of one entry of `attributes`.
        attributes: the section of the events' attributes.
        data: the records; a size of 0 means that the writer was killed.
        features: numbers of the features, ascending; their table lies behind `data`.
    """

    order: Order
    pipe: bool
    version: int = 2
    size: int = PIPE_SIZE
    attribute_size: int = 0
    attributes: Section = Section(0, 0)
    data: Section = Section(0, 0)
    features: tuple[int, ...] = ()


def parse_header(data: bytes) -> Header:
    """The header out of a file's first `FILE_SIZE` bytes; a pipe needs only `PIPE_SIZE`.

    Raises:
        PerfDataError: these are no first bytes of a perf.data.
    """
    magic = data[:8]
    order: Order
    if magic == _MAGIC:
        order = "<"
    elif magic == _MAGIC[::-1]:
        order = ">"
    elif magic == _OLD_MAGIC:
        return _parse_old(data)
    else:
        raise PerfDataError(
            f"no perf.data: the file begins with {data[:8]!r}" if data else "the file is empty",
            "Give a file that `perf record` or `perf kvm record` wrote.",
        )
    size = Cursor(data, order, 8, what="header").u64()
    if size == PIPE_SIZE:
        return Header(order, pipe=True)
    return _parse_file(data, order, version=2)


def _parse_old(data: bytes) -> Header:
    """Version 1 spells its magic alike in both orders; the size tells which it is."""
    found = Cursor(data, "<", 8, what="header").take(8)
    order: Order = "<" if struct.unpack("<Q", found)[0] < struct.unpack(">Q", found)[0] else ">"
    return _parse_file(data, order, version=1)


def _parse_file(data: bytes, order: Order, version: int) -> Header:
    cursor = Cursor(data, order, 8, what="header")
    size, attribute_size = cursor.u64s(2)
    if size < _SHORTEST_FILE_SIZE:
        raise PerfDataError(
            f"the header says that it has {size} bytes, too few for one",
            "The file is damaged; record it again.",
        )
    attributes = Section(*cursor.u64s(2))
    records = Section(*cursor.u64s(2))
    cursor.u64s(2)  # event_types, unused since 2012
    features: tuple[int, ...] = ()
    if size >= FILE_SIZE:
        words = cursor.u64s(4)
        features = tuple(
            number for number in range(256) if words[number // 64] >> (number % 64) & 1
        )
    return Header(
        order,
        pipe=False,
        version=version,
        size=size,
        attribute_size=attribute_size,
        attributes=attributes,
        data=records,
        features=features,
    )
