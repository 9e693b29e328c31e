"""Tracing data: the formats of tracepoints as the recording machine's kernel had them.

Source: tracing_data_get and read_* in tools/perf/util/trace-event-info.c and
trace-event-read.c, Linux 6.12; a format's text is that of
/sys/kernel/tracing/events/SYSTEM/NAME/format.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.symbolic import SymbolicTable, symbolic_tables

_MAGIC = b"\x17\x08\x44tracing"
_FIELD = re.compile(
    r"^\s*field:([^;]{1,400});\s*offset:(\d{1,6});\s*size:(\d{1,6});(?:\s*signed:([01]);)?",
    re.MULTILINE,
)
_NAME = re.compile(r"^name:\s*(\S{1,200})", re.MULTILINE)
_ID = re.compile(r"^ID:\s*(\d{1,9})", re.MULTILINE)
_PRINT = re.compile(r"^print fmt:\s*(.*)", re.MULTILINE | re.DOTALL)
_LAST_WORD = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]]*\])?\s*$")


@dataclass(frozen=True, slots=True)
class TracepointField:
    """One field of a tracepoint's raw data.

    Attributes:
        name: as the kernel declares it.
        offset: in the raw data, bytes.
        size: in bytes.
        signed: it is a signed integer.
    """

    name: str
    offset: int
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """One tracepoint.

    Attributes:
        system: such as `kvm`.
        name: such as `kvm_exit`.
        id: the `config` of the event's attribute.
        fields: by name.
        print_format: how the kernel prints it, a C format and its arguments.
    """

    system: str
    name: str
    id: int
    fields: Mapping[str, TracepointField]
    print_format: str

    @property
    def full_name(self) -> str:
        """`system:name`, as perf calls the event."""
        return f"{self.system}:{self.name}"

    def tables(self) -> list[SymbolicTable]:
        """The tables of names that the print format holds."""
        return symbolic_tables(self.print_format)


@dataclass(frozen=True, slots=True)
class TracingData:
    """The tracepoints of a recording.

    Attributes:
        version: of the layout, such as `0.6`.
        word_size: bytes of a `long` where it was recorded.
        page_size: of that machine, bytes.
        tracepoints: by id.
    """

    version: str = ""
    word_size: int = 8
    page_size: int = 4096
    tracepoints: Mapping[int, Tracepoint] = field(default_factory=dict)

    def find(self, full_name: str) -> Tracepoint | None:
        """The tracepoint of a name such as `kvm:kvm_exit`."""
        return next((t for t in self.tracepoints.values() if t.full_name == full_name), None)


def parse_tracing_data(data: bytes) -> TracingData:
    """Tracing data, from the magic on. What follows the formats is of no use here.

    Raises:
        PerfDataError: the bytes are no tracing data, or end too soon.
    """
    if not data.startswith(_MAGIC):
        raise PerfDataError(
            f"the tracing data begin with {data[:10]!r}",
            "The file is damaged; record it again.",
        )
    cursor = Cursor(data, "<", len(_MAGIC), what="tracing data")
    version = cursor.line().decode("ascii", "replace")
    order: Order = ">" if cursor.u8() else "<"
    cursor.order = order
    word_size = cursor.u8()
    page_size = cursor.u32()
    for part in (b"header_page", b"header_event"):
        if cursor.line() != part:
            raise PerfDataError(
                f"the tracing data lack their part {part.decode()}",
                "The file is damaged; record it again.",
            )
        cursor.take(cursor.u64())
    found = {}
    for text in _formats(cursor):
        system, description = text
        tracepoint = parse_format(system, description)
        if tracepoint is not None:
            found[tracepoint.id] = tracepoint
    return TracingData(version, word_size, page_size, found)


def _formats(cursor: Cursor) -> Iterator[tuple[str, str]]:
    """System and text of each format; those of ftrace itself have no use and are passed over."""
    for _ in range(cursor.u32()):
        cursor.take(cursor.u64())
    for _ in range(cursor.u32()):
        system = cursor.line().decode("utf-8", "replace")
        for _ in range(cursor.u32()):
            yield system, cursor.take(cursor.u64()).decode("utf-8", "replace")


def parse_format(system: str, text: str) -> Tracepoint | None:
    """One format; None where the text has no name or no id."""
    name, number = _NAME.search(text), _ID.search(text)
    if name is None or number is None:
        return None
    fields = {}
    for match in _FIELD.finditer(text):
        declared = _LAST_WORD.search(match[1])
        if declared is not None:
            fields[declared[1]] = TracepointField(
                declared[1], int(match[2]), int(match[3]), match[4] == "1"
            )
    shown = _PRINT.search(text)
    return Tracepoint(system, name[1], int(number[1]), fields, shown[1] if shown else "")
