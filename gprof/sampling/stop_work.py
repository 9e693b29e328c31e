"""What QEMU computes for a stop, most of it before it reports the stop and after the continuation.

Virtio devices give up the eventfds of their queues and make new ones, memory is mapped anew: the
guest stands, or its vcpus wait for the lock that QEMU's main thread holds, and no event and no
answer of the stub tells of that (decision 3). The processor time of that thread does. It is read
before a stop, again when all of it is over, and once more before the next stop: what the thread
computes anyway, for disks and networks, is what it computes between the last two.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Protocol

#: How long after a stop nothing of its work is left to do, nanoseconds.
SETTLED_NS = 5_000_000
#: What is told about the time until the next stop wants that much of it.
_SHORTEST_REST_NS = 2_000_000
#: Stops that are remembered, and how many there must be to be believed.
_REMEMBERED = 60
_ENOUGH = 15
#: One in how many is looked at once those are remembered.
_EVERY = 5


class Ran(Protocol):
    """See `gprof.guest.main_thread.MainThread`."""

    def ran_ns(self) -> int | None:
        """Its processor time in nanoseconds; None where it has ended."""
        ...


@dataclass(frozen=True, slots=True)
class _Reading:
    """Of the thread's counter.

    Attributes:
        at_ns: when, by CLOCK_MONOTONIC.
        ran_ns: the counter.
    """

    at_ns: int
    ran_ns: int


class StopWork:
    """A running estimate, by stops that were followed until their work was done.

    Args:
        thread: QEMU's main thread; None where it is not to be seen, and nothing is ever known.

    Attributes:
        ns: what a stop has that thread compute; 0 before `known`.
    """

    def __init__(self, thread: Ran | None) -> None:
        self._thread = thread
        self._before: _Reading | None = None
        self._settled: _Reading | None = None
        # Time and work of each: around a stop, and from there to the next one.
        self._around: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._between: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._stops = 0
        self._earlier_ns = 0.0
        self.ns = 0.0

    @property
    def known(self) -> bool:
        """Whether enough stops were followed for `ns`."""
        return min(len(self._around), len(self._between)) >= _ENOUGH

    @property
    def total_ns(self) -> float:
        """The work of all stops that were made until now."""
        return self._earlier_ns + self._stops * self.ns

    def before_stop(self, now_ns: int) -> None:
        """The guest is about to be stopped."""
        settled, self._settled = self._settled, None
        if settled is not None and now_ns - settled.at_ns >= _SHORTEST_REST_NS:
            self._add(self._between, settled, now_ns)
            self._estimate()
        self._stops += 1
        self._before = None
        if len(self._around) < _REMEMBERED or self._stops % _EVERY == 0:
            self._before = self._read(now_ns)

    def settles_at(self, resumed_ns: int) -> int | None:
        """When to call `settle` for the last stop; None where it is not followed.

        Args:
            resumed_ns: when the guest ran again, as far as is told.
        """
        return resumed_ns + SETTLED_NS if self._before is not None else None

    def next_stop_from(self, resumed_ns: int) -> int:
        """Before when the guest should not be stopped again, for this to become known soon."""
        if self.known or self._before is None:
            return resumed_ns
        return resumed_ns + SETTLED_NS + _SHORTEST_REST_NS

    def settle(self, now_ns: int) -> None:
        """The work of the last stop is done."""
        before, self._before = self._before, None
        if before is not None:
            self._settled = self._add(self._around, before, now_ns)

    def forget(self) -> None:
        """Stops are made in another way from now on."""
        self._earlier_ns, self._stops = self.total_ns, 0
        self._before = self._settled = None
        self._around.clear()
        self._between.clear()
        self.ns = 0.0

    def _read(self, now_ns: int) -> _Reading | None:
        ran = self._thread.ran_ns() if self._thread is not None else None
        return None if ran is None else _Reading(now_ns, ran)

    def _add(self, to: deque[tuple[int, int]], since: _Reading, now_ns: int) -> _Reading | None:
        now = self._read(now_ns)
        if now is not None and now.at_ns > since.at_ns:
            to.append((now.at_ns - since.at_ns, max(0, now.ran_ns - since.ran_ns)))
        return now

    def _estimate(self) -> None:
        if not self.known:
            return
        # Medians: now and then the thread does something large for somebody else.
        usual = median(work / time for time, work in self._between)
        self.ns = max(0.0, median(work - usual * time for time, work in self._around))
