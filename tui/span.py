"""Which part of the time is looked at: all of it, the last seconds, or a range that was picked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from gprof.profile.profile import Profile

#: Lengths of the window, and half-lives of the decay, in seconds.
LENGTHS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)

#: What a fresh sample weighs under decay, so that an old one can weigh less than one.
_FINE = 1 << 10
#: Half-lives after which a sample weighs nothing: 2^-10 of a fresh one.
_FORGOTTEN = 10


class Horizon(StrEnum):
    """How far back samples count."""

    EVERYTHING = "everything"
    WINDOW = "window"  # the last `length_s`, all alike
    DECAY = "decay"  # half as much for each `length_s` of age


@dataclass(frozen=True, slots=True)
class Seen:
    """A profile with its samples weighed by their age.

    Attributes:
        profile: the same samples; their weights may differ.
        since_ns: first time that counts; None from the beginning.
        until_ns: time after the last that counts; None to the end.
        scale: what a weight of one became.
    """

    profile: Profile
    since_ns: int | None = None
    until_ns: int | None = None
    scale: int = 1


@dataclass(frozen=True, slots=True)
class Span:
    """The part of the time that was chosen.

    Attributes:
        horizon: how far back samples count.
        length_s: the window's length, or the half-life.
        picked: first time and time after the last, nanoseconds of the samples' clock; wins over
            the horizon.
    """

    horizon: Horizon = Horizon.EVERYTHING
    length_s: float = 10.0
    picked: tuple[int, int] | None = None

    def stretched(self, step: int) -> Span:
        """The same with the next longer (1) or shorter (-1) length."""
        nearest = min(range(len(LENGTHS)), key=lambda i: abs(LENGTHS[i] - self.length_s))
        return replace(self, length_s=LENGTHS[max(0, min(nearest + step, len(LENGTHS) - 1))])

    def next_horizon(self) -> Span:
        """The same with the next horizon."""
        every = list(Horizon)
        at = every.index(self.horizon)
        return replace(self, horizon=every[(at + 1) % len(every)])

    def seen(self, profile: Profile) -> Seen:
        """A profile as it looks through this."""
        if self.picked is not None:
            return Seen(profile, *self.picked)
        times = profile.samples.time
        if self.horizon is Horizon.EVERYTHING or not len(times):
            return Seen(profile)
        last, length = int(times.max()), int(self.length_s * 1e9)
        if self.horizon is Horizon.WINDOW:
            return Seen(profile, last - length + 1)
        weight = profile.samples.weight
        # Periods of perf can be so large that finer ones would not fit into 32 bits.
        scale = _FINE if int(weight.max()) * _FINE < 1 << 32 else 1
        since = last - _FORGOTTEN * length
        recent = np.flatnonzero(times >= since)
        share = np.exp2((times[recent] - last) / length)
        aged = np.zeros(len(weight), weight.dtype)
        aged[recent] = np.rint(weight[recent] * (scale * share))
        samples = replace(profile.samples, weight=aged)
        return Seen(replace(profile, samples=samples), since, scale=scale)
