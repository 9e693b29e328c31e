"""Which event a record belongs to.

Source: perf_evlist__event2evsel and evlist__id2evsel in tools/perf/util/evlist.c;
process_id_index in session.c, Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.errors import PerfDataError


@dataclass(frozen=True, slots=True)
class IdOrigin:
    """Where one counter counted, as ID_INDEX says.

    Attributes:
        id: the counter's id.
        event: index of its event as the writer numbered them.
        cpu: the processor, -1 for all.
        tid: the thread, -1 for all.
        machine_pid: pid of the hypervisor whose guest it counted in; 0 where it is not told.
        vcpu: the guest's vcpu, -1 where it is not told.
    """

    id: int
    event: int
    cpu: int
    tid: int
    machine_pid: int = 0
    vcpu: int = -1


def parse_id_index(body: bytes, order: Order) -> list[IdOrigin]:
    """The body of an ID_INDEX record.

    The second array (machine pid and vcpu) is written only by `perf inject --guest-data`; it is
    there when the record has room for it.

    Raises:
        PerfDataError: fewer entries follow than the count promises.
    """
    cursor = Cursor(body, order, what="index of ids")
    count = cursor.u64()
    if count > cursor.left // 32:
        raise PerfDataError(
            f"the index of ids promises {count} entries where {cursor.left // 32} find room",
            "The file is damaged; record it again.",
        )
    first = cursor.u64s(4 * count)
    second = cursor.u64s(2 * count) if cursor.left >= 16 * count else ()
    return [
        IdOrigin(
            id=first[4 * i],
            event=first[4 * i + 1],
            cpu=_signed(first[4 * i + 2]),
            tid=_signed(first[4 * i + 3]),
            machine_pid=second[2 * i] & 0x7FFFFFFF if second else 0,
            vcpu=_signed(second[2 * i + 1]) if second else -1,
        )
        for i in range(count)
    ]


class EventIds:
    """The ids of counters and the events that they belong to. An event has one id a counter."""

    def __init__(self) -> None:
        self._event_of: dict[int, int] = {}
        self._sorted: tuple[NDArray[np.uint64], NDArray[np.int32]] | None = None

    def add(self, ids: Iterable[int], event: int) -> None:
        """These ids belong to the event of that index."""
        for number in ids:
            self._event_of[number] = event
        self._sorted = None

    def of_event(self, event: int) -> tuple[int, ...]:
        """The ids of one event, ascending."""
        return tuple(sorted(number for number, of in self._event_of.items() if of == event))

    def event(self, number: int) -> int | None:
        """The event of an id; None where it is unknown."""
        return self._event_of.get(number)

    def events(self, numbers: NDArray[np.uint64]) -> NDArray[np.int32]:
        """For each id the index of its event, -1 where it is unknown.

        An id of 0 stands in records that perf made up itself and means the first event.
        """
        if self._sorted is None:
            known = {0: 0, **self._event_of}
            ids = np.array(sorted(known), np.uint64)
            self._sorted = ids, np.array([known[int(i)] for i in ids], np.int32)
        ids, events = self._sorted
        if len(numbers) and (numbers == numbers[0]).all():
            at = int(np.searchsorted(ids, numbers[0]))
            hit = at < len(ids) and ids[at] == numbers[0]
            return np.full(len(numbers), events[at] if hit else -1, np.int32)
        place = np.minimum(np.searchsorted(ids, numbers), len(ids) - 1)
        return np.where(ids[place] == numbers, events[place], np.int32(-1))


def _signed(word: int) -> int:
    word &= 0xFFFFFFFF
    return word - (1 << 32) if word >> 31 else word
