"""What one stop costs the guest, measured from outside.

The time between our write and the last answer is no measure of it: most of it is QEMU's main
loop waking up before the stop, and we ourselves waking up after it, some 300 µs around a stop of
80. But the stub reports the stop as soon as the guest stands, and resumes it right after the last
answer: whoever looks without pause sees the time in between. It agrees with that between QEMU's
own STOP and RESUME events to a tenth; `benchmarks/halt.py` shows both side by side.

Looking without pause costs CPU time, so only some samples are timed like that. And where the
host takes the CPU away from us just then, all answers seem to come at once and the time is far
too short; too long it rarely is. So a high quantile is nearest to the truth.
"""

from __future__ import annotations

from collections import deque

#: Stops that are remembered.
_REMEMBERED = 40
_QUANTILE = 0.8


class StopCost:
    """A running estimate from stops that were timed.

    Attributes:
        seen: how many were.
    """

    def __init__(self) -> None:
        self._durations: deque[int] = deque(maxlen=_REMEMBERED)
        self.seen = 0

    def add(self, stopped_ns: int, answered_ns: int) -> None:
        """Take in a timed stop: the report that the guest stands, and the last answer."""
        self._durations.append(answered_ns - stopped_ns)
        self.seen += 1

    @property
    def ns(self) -> float:
        """Cost of one stop in nanoseconds; 0 before the first."""
        if not self._durations:
            return 0.0
        return float(sorted(self._durations)[int(_QUANTILE * len(self._durations))])
