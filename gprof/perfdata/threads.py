"""Names and processes of threads: COMM, FORK and EXIT.

Source: enum perf_event_type in include/uapi/linux/perf_event.h, Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gprof.perfdata.cursor import Cursor, Order
from gprof.perfdata.records import RecordType


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of the host.

    Attributes:
        tid: its id.
        pid: of its process.
        name: its comm; empty where no record told it.
    """

    tid: int
    pid: int
    name: bytes = b""


class Threads:
    """Every thread that the records speak of, with its latest name."""

    def __init__(self) -> None:
        self._threads: dict[int, Thread] = {}

    def __len__(self) -> int:
        return len(self._threads)

    def __iter__(self) -> Iterator[Thread]:
        return iter(list(self._threads.values()))

    def get(self, tid: int) -> Thread | None:
        """The thread of an id; None where no record speaks of it."""
        return self._threads.get(tid)

    def of(self, pid: int) -> list[Thread]:
        """The threads of a process, by id."""
        return sorted((t for t in self if t.pid == pid), key=lambda t: t.tid)

    def apply(self, kind: int, body: bytes, order: Order) -> None:
        """Learn from the body of a COMM or FORK record.

        A thread that exits stays known: its samples may follow in the file.

        Raises:
            PerfDataError: the record is too short.
        """
        cursor = Cursor(body, order, what="record of a thread")
        if kind == RecordType.COMM:
            pid, tid = cursor.i32(), cursor.i32()
            self._threads[tid] = Thread(tid, pid, cursor.line())
        elif kind == RecordType.FORK:
            pid, _, tid, parent_tid = (cursor.i32() for _ in range(4))
            parent = self._threads.get(parent_tid)
            known = self._threads.get(tid)
            if known is None or known.pid != pid:
                self._threads[tid] = Thread(tid, pid, parent.name if parent else b"")
