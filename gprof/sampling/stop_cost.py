"""What one stop costs the guest, measured from outside.

The time between our write and the last answer is no measure of it: most of it is QEMU's main
loop waking up before the stop and we ourselves waking up after it, some 300 µs around a stop of
80. But QEMU handles all of one write in one go. So a write with many stops takes longer than a
write with one by exactly the stops it has more, and both delays cancel out of the difference.

Other work on the host only ever makes a write seem longer, so the quickest of several is nearest
to the truth, for the short write and the long one alike. `benchmarks/halt.py` shows the result
beside the time between QEMU's own STOP and RESUME events.
"""

from __future__ import annotations

from collections import deque

#: Stops in the longer write.
MANY = 9
#: Rounds that are remembered.
_ROUNDS = 15


class StopCost:
    """A running estimate from rounds of a short and a long write."""

    def __init__(self) -> None:
        self._one: deque[int] = deque(maxlen=_ROUNDS)
        self._many: deque[int] = deque(maxlen=_ROUNDS)

    def add(self, one_ns: int, many_ns: int) -> None:
        """Take in a round.

        Args:
            one_ns: time from write to last answer with one stop in the write.
            many_ns: the same with `MANY`.
        """
        self._one.append(one_ns)
        self._many.append(many_ns)

    @property
    def ns(self) -> float:
        """Cost of one stop; 0 before the first round."""
        if not self._one:
            return 0.0
        return max(0, min(self._many) - min(self._one)) / (MANY - 1)
