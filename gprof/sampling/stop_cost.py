"""What one stop costs the guest, measured from outside.

The time between our write and the last answer is no measure of it: most of it is QEMU's main
loop waking up before the stop, and we ourselves waking up after it, some 300 µs around a stop of
80. But the stub reports the stop as soon as the guest stands, and resumes it right after the last
answer: whoever looks without pause sees the time in between. It agrees with that between QEMU's
own STOP and RESUME events to a tenth; `benchmarks/halt.py` shows both side by side.

Looking without pause costs CPU time, so only some samples are timed like that. Where the host
takes the CPU away from us just then, report and answers come together: those say nothing and do
not count. Where it does so a moment later the time is too long, so a low quantile counts. On a
host too busy for any of this, the quickest whole exchange is an upper bound at least.

Where the guest waited for a further question of ours (call stacks need one), our waking up is no
error of measurement but a cost of the guest. So there the mean of all stops counts, timed or not.
"""

from __future__ import annotations

from collections import deque

from gprof.guest.dialogue import Exchange

#: Stops that are remembered, and how many must have been caught to be believed.
_REMEMBERED = 200
_ENOUGH = 10


class StopCost:
    """A running estimate from stops that were timed.

    Attributes:
        seen: how many were.
    """

    def __init__(self) -> None:
        self._caught: deque[int] = deque(maxlen=_REMEMBERED)
        self._whole: deque[int] = deque(maxlen=_REMEMBERED)
        self._waited: deque[int] = deque(maxlen=_REMEMBERED)
        self.seen = 0

    def add(self, exchange: Exchange) -> None:
        """Take in a timed exchange, or any for which the guest waited."""
        self.seen += 1
        if exchange.waited:
            self._waited.append(exchange.answered_ns - exchange.stopped_ns)
            return
        self._whole.append(exchange.answered_ns - exchange.asked_ns)
        if exchange.caught:
            self._caught.append(exchange.answered_ns - exchange.stopped_ns)

    @property
    def known(self) -> bool:
        """Whether `ns` is a measurement, not only an upper bound."""
        return max(len(self._caught), len(self._waited)) >= _ENOUGH

    @property
    def ns(self) -> float:
        """Cost of one stop in nanoseconds; 0 before the first was seen."""
        if self._waited:
            return sum(self._waited) / len(self._waited)
        bound = min(self._whole, default=0)
        if self.known:
            return float(min(bound, sorted(self._caught)[len(self._caught) // 10]))
        return float(bound)
