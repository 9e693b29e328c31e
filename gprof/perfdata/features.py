"""The features of a perf.data: facts about the machine and the recording, each optional.

A file has them in a table behind its records, a pipe in HEADER_FEATURE records; the contents
are alike. Source: the write_* and process_* functions of tools/perf/util/header.c, Linux 6.12.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from gprof.perfdata.attributes import Attribute, parse_attribute
from gprof.perfdata.cursor import Cursor, Order, until_zero
from gprof.perfdata.errors import PerfDataError


class Feature(IntEnum):
    """Numbers of features (HEADER_*); those of other writers and later perfs have no name here."""

    TRACING_DATA = 1
    BUILD_ID = 2
    HOSTNAME = 3
    OSRELEASE = 4
    VERSION = 5
    ARCH = 6
    NRCPUS = 7
    CPUDESC = 8
    CPUID = 9
    TOTAL_MEM = 10
    CMDLINE = 11
    EVENT_DESC = 12
    SAMPLE_TIME = 21
    CLOCKID = 23
    DIR_FORMAT = 24
    COMPRESSED = 27
    CLOCK_DATA = 29


@dataclass(frozen=True, slots=True)
class EventDescription:
    """One event of EVENT_DESC: its name in file mode."""

    attribute: Attribute
    name: bytes
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildId:
    """A file that was mapped, and the build id that it had.

    Attributes:
        misc: flags of the record; its lowest three bits are the cpumode.
        pid: of the machine that it belongs to: -1 the host, 0 the guest without a number.
        id: the build id's bytes.
        filename: as mapped.
    """

    misc: int
    pid: int
    id: bytes
    filename: bytes


def parse_string(data: bytes, order: Order) -> bytes:
    """HOSTNAME, OSRELEASE, VERSION, ARCH, CPUDESC, CPUID: one counted string."""
    return Cursor(data, order, what="feature").counted_string()


def parse_command_line(data: bytes, order: Order) -> tuple[bytes, ...]:
    """CMDLINE: a count and that many strings."""
    cursor = Cursor(data, order, what="command line")
    count = cursor.u32()
    _check_count(count, cursor.left // 4, "command line")
    return tuple(cursor.counted_string() for _ in range(count))


def parse_event_descriptions(data: bytes, order: Order) -> list[EventDescription]:
    """EVENT_DESC: every event with its name and ids."""
    cursor = Cursor(data, order, what="description of events")
    count, size = cursor.u32(), cursor.u32()
    _check_count(count, cursor.left // max(size, 1), "description of events")
    found = []
    for _ in range(count):
        attribute = parse_attribute(cursor.take(size), order)
        id_count = cursor.u32()
        name = cursor.counted_string()
        found.append(EventDescription(attribute, name, cursor.u64s(id_count)))
    return found


def parse_build_ids(data: bytes, order: Order) -> list[BuildId]:
    """BUILD_ID: records of the shape of PERF_RECORD_HEADER_BUILD_ID, one after another."""
    cursor = Cursor(data, order, what="build ids")
    found = []
    while cursor.left >= 8:
        _, misc, size = cursor.u32(), cursor.u16(), cursor.u16()
        if size < 8:
            break
        found.append(parse_build_id(cursor.take(size - 8), misc, order))
    return found


def parse_build_id(body: bytes, misc: int, order: Order) -> BuildId:
    """The body of one build id record.

    The size behind the id is valid only with PERF_RECORD_MISC_BUILD_ID_SIZE (bit 15); before
    that bit existed all ids had 20 bytes.
    """
    cursor = Cursor(body, order, what="build id")
    pid = cursor.i32()
    build_id = cursor.take(20)
    size = cursor.u8()
    cursor.take(3)
    if not misc >> 15 & 1 or size > 20:
        size = 20
    return BuildId(misc, pid, build_id[:size], until_zero(body[cursor.at :]))


def _check_count(count: int, most: int, what: str) -> None:
    if count > most:
        raise PerfDataError(
            f"the {what} promises {count} entries where {most} find room",
            "The file is damaged; record it again.",
        )
