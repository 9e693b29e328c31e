"""What one stop costs the guest, measured from outside.

The time between our write and the last answer is no measure of it: most of it is QEMU's main
loop waking up before the stop and we ourselves waking up after it, some 300 µs around a stop of
80. But QEMU handles all of one write in one go. So a write with many stops takes longer than a
write with one by exactly the stops it has more, and both delays cancel out of the difference.

Other work on the host only ever makes a round seem longer, so the cheaper half of several rounds
is nearer to the truth; against the time between QEMU's own STOP and RESUME events the result was
never too low by more than a tenth (benchmarks/halt.py shows both side by side).
"""

from __future__ import annotations

from collections import deque

#: Stops in the longer write of a round.
MANY = 9
#: Rounds that are remembered.
_ROUNDS = 15


class StopCost:
    """A running estimate from rounds of two writes."""

    def __init__(self) -> None:
        self._rounds: deque[float] = deque(maxlen=_ROUNDS)

    def add(self, one_ns: int, many_ns: int) -> None:
        """Take in a round.

        Args:
            one_ns: time from write to last answer with one stop in the write.
            many_ns: the same with `MANY`.
        """
        self._rounds.append((many_ns - one_ns) / (MANY - 1))

    @property
    def ns(self) -> float:
        """Cost of one stop: the lower quartile of the rounds; 0 before the first."""
        if not self._rounds:
            return 0.0
        return max(0.0, sorted(self._rounds)[len(self._rounds) // 4])
