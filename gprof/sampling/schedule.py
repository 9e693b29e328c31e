"""When to sample: random instants on an absolute schedule, within a budget."""

from __future__ import annotations

import random

_SECOND = 1_000_000_000


class Schedule:
    """Instants of a Poisson process.

    Exponential spacing cannot fall into step with anything periodic in the guest, such as its
    timer tick. Each instant follows from the one before, not from when the sample was really
    taken: being a little late does not lower the rate. What was missed by more than a mean
    interval is not made up, since such samples come in a burst at an instant that the host has
    chosen, and a host that is busy with the guest does not choose by chance.

    Args:
        hz: mean rate.
        start_ns: the instant to start from.
        rng: the source of chance.
    """

    def __init__(self, hz: float, start_ns: int, rng: random.Random) -> None:
        self.hz = hz
        self._at = float(start_ns)
        self._rng = rng

    @property
    def mean_interval_ns(self) -> float:
        """Mean time between two samples."""
        return _SECOND / self.hz

    def following(self, now_ns: int) -> int:
        """The next instant, on the clock of `now_ns`; it lies in the past when we are late."""
        self._at += self._interval()
        if now_ns - self._at > self.mean_interval_ns:
            self._at = now_ns + self._interval()
        return int(self._at)

    def _interval(self) -> float:
        return self._rng.expovariate(1.0) * self.mean_interval_ns


def affordable_hz(asked_hz: float, stop_ns: float, share: float) -> float:
    """The highest rate up to `asked_hz` at which stops of `stop_ns` take at most `share` of time.

    Args:
        asked_hz: the rate asked for.
        stop_ns: mean time that one stop costs the guest.
        share: of wall-clock time, 0.01 for 1 %.
    """
    if not stop_ns:
        return asked_hz
    return min(asked_hz, share * _SECOND / stop_ns)
