"""What a recording says besides its samples: events, mappings, threads, facts of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from gprof.perfdata import features
from gprof.perfdata.attributes import Attribute, EventType, parse_attribute
from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.features import BuildId, EventDescription, Feature
from gprof.perfdata.ids import EventIds, IdOrigin, parse_id_index
from gprof.perfdata.maps import Mapping, parse_mapping
from gprof.perfdata.records import RecordType
from gprof.perfdata.threads import Threads
from gprof.perfdata.tracepoints import TracingData, parse_tracing_data

_T = TypeVar("_T")

#: PERF_EVENT_UPDATE__NAME of enum perf_event_update_type: the update carries a name.
_UPDATE_NAME = 2
#: enum perf_hw_id and enum perf_sw_ids: names of events that the file does not name.
_GENERIC_NAMES: dict[tuple[int, int], str] = {
    (EventType.HARDWARE, 0): "cycles",
    (EventType.HARDWARE, 1): "instructions",
    (EventType.SOFTWARE, 0): "cpu-clock",
    (EventType.SOFTWARE, 1): "task-clock",
    (EventType.SOFTWARE, 9): "dummy",
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a recording.

    Attributes:
        index: its number in the file.
        name: as perf shows it.
        attribute: how it was asked for.
    """

    index: int
    name: str
    attribute: Attribute


class Tables:
    """Grows while a recording is read. A damaged part counts as missing and is told.

    Args:
        order: byte order of the recording.

    Attributes:
        order: byte order of the recording.
        mappings: what was mapped, host and guests, in the order of the file.
        threads: names and processes of the host's threads.
        ids: which event an id belongs to.
        origins: where each counter counted, by its id.
        lost: how many samples the kernel says that it dropped.
        problems: sentences about what is wrong with the recording.
    """

    def __init__(self, order: Order) -> None:
        self.order: Order = order
        self.mappings: list[Mapping] = []
        self.threads = Threads()
        self.ids = EventIds()
        self.origins: dict[int, IdOrigin] = {}
        self.lost = 0
        self.problems: list[str] = []
        self.attributes: list[Attribute] = []
        self._names: dict[int, str] = {}
        self._features: dict[int, bytes] = {}
        self._build_ids: list[BuildId] = []
        self._tracing: TracingData | None = None

    @property
    def events(self) -> list[Event]:
        """The events, in the order of the file; `Samples.event` indexes this."""
        return [
            Event(index, self._event_name(index, attribute), attribute)
            for index, attribute in enumerate(self.attributes)
        ]

    @property
    def tracing(self) -> TracingData:
        """The formats of tracepoints; none where nothing of the kind was recorded."""
        if self._tracing is None:
            if Feature.TRACING_DATA not in self._features:
                return TracingData()
            self._tracing = self._decoded(
                Feature.TRACING_DATA, lambda data, _: parse_tracing_data(data), TracingData()
            )
        return self._tracing

    @property
    def build_ids(self) -> list[BuildId]:
        """Build ids by file, of the header and of records."""
        none: list[BuildId] = []
        return self._decoded(Feature.BUILD_ID, features.parse_build_ids, none) + self._build_ids

    @property
    def command_line(self) -> tuple[bytes, ...]:
        """How perf was called; empty where the recording does not tell."""
        return self._decoded(Feature.CMDLINE, features.parse_command_line, ())

    def text(self, feature: Feature) -> str:
        """A feature that is a string, such as ARCH; empty where the recording lacks it."""
        found = self._decoded(feature, features.parse_string, b"")
        return found.decode("utf-8", "backslashreplace")

    def feature(self, number: int) -> bytes | None:
        """The bytes of a feature of `Feature`; None where the recording lacks it."""
        return self._features.get(number)

    def add_feature(self, number: int, data: bytes) -> None:
        """Learn a feature."""
        self._features[number] = data
        if number == Feature.TRACING_DATA:
            self._tracing = None
        elif number == Feature.EVENT_DESC:
            self._name_events()

    def _decoded(self, feature: Feature, parse: Callable[[bytes, Order], _T], missing: _T) -> _T:
        data = self._features.get(feature)
        if not data:
            return missing
        try:
            return parse(data, self.order)
        except PerfDataError as error:
            if error.problem not in self.problems:
                self.problems.append(error.problem)
            return missing

    def _name_events(self) -> None:
        none: list[EventDescription] = []
        described = self._decoded(Feature.EVENT_DESC, features.parse_event_descriptions, none)
        for index, event in enumerate(described):
            self._names[index] = event.name.decode("utf-8", "backslashreplace")
            if index < len(self.attributes) and not self.ids.of_event(index):
                self.ids.add(event.ids, index)

    def _event_name(self, index: int, attribute: Attribute) -> str:
        if index in self._names:
            return self._names[index]
        if attribute.type == EventType.TRACEPOINT:
            tracepoint = self.tracing.tracepoints.get(attribute.config)
            if tracepoint is not None:
                return tracepoint.full_name
        known = _GENERIC_NAMES.get((attribute.type, attribute.config))
        return known or f"type {attribute.type} config {attribute.config:#x}"

    def learn(self, kind: int, misc: int, body: bytes) -> None:
        """Learn from the body of a record that is no sample; most kinds say nothing of use.

        Raises:
            PerfDataError: it is too short for what it should hold.
        """
        cursor = Cursor(body, self.order)
        if kind in {RecordType.MMAP, RecordType.MMAP2}:
            self.mappings.append(parse_mapping(body, kind, misc, self.order))
        elif kind in {RecordType.COMM, RecordType.FORK}:
            self.threads.apply(kind, body, self.order)
        elif kind == RecordType.LOST:
            self.lost += cursor.u64s(2)[1]
        elif kind == RecordType.LOST_SAMPLES:
            self.lost += cursor.u64()
        elif kind == RecordType.HEADER_ATTR:
            self._learn_attribute(body)
        elif kind == RecordType.EVENT_UPDATE:
            update, number = cursor.u64s(2)
            event = self.ids.event(number)
            if update == _UPDATE_NAME and event is not None:
                self._names[event] = cursor.line().decode("utf-8", "backslashreplace")
        elif kind == RecordType.HEADER_FEATURE:
            self.add_feature(cursor.u64(), body[8:])
        elif kind == RecordType.HEADER_TRACING_DATA:
            # The record's own 4 bytes of size and 4 of padding come before the data.
            size = cursor.u32()
            start = len(body) - (size + 7 & ~7)
            self.add_feature(Feature.TRACING_DATA, body[start : start + size])
        elif kind == RecordType.HEADER_BUILD_ID:
            self._build_ids.append(features.parse_build_id(body, misc, self.order))
        elif kind == RecordType.ID_INDEX:
            for origin in parse_id_index(body, self.order):
                self.origins[origin.id] = origin

    def _learn_attribute(self, body: bytes) -> None:
        """HEADER_ATTR: an attribute of the size that it says itself, and the ids behind it."""
        size = Cursor(body, self.order, 4).u32() or 64
        cursor = Cursor(body, self.order)
        attribute = parse_attribute(cursor.take(size), self.order)
        self.attributes.append(attribute)
        self.ids.add(cursor.u64s(cursor.left // 8), len(self.attributes) - 1)
