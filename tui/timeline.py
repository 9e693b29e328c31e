"""How busy the vcpus were over time, in equal buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.profile.growing import begins_with
from gprof.sampling.source import Mode, SampleBatch, UInt8s

#: No bucket is shorter: a hundred samples a second say nothing about less.
_SHORTEST_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """Busy shares, oldest first.

    Attributes:
        start_ns: where the first bucket begins, by the clock of the samples.
        bucket_ns: how long each is.
        busy: share of each bucket's samples that were not idle, 0 to 1; NaN where it has none.
    """

    start_ns: int
    bucket_ns: int
    busy: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.busy)

    def time(self, bucket: int) -> int:
        """When a bucket begins."""
        return self.start_ns + bucket * self.bucket_ns

    def bucket(self, time_ns: int) -> int:
        """The bucket that holds a time, the nearest one for times outside."""
        return max(0, min((time_ns - self.start_ns) // self.bucket_ns, len(self) - 1))


EMPTY = Timeline(0, _SHORTEST_NS, np.empty(0, np.float64))


class Busy:
    """Adds up how busy the vcpus were, as samples come.

    It does so in buckets of 50 ms times a power of ten, which divide every bucket that is shown.
    """

    def __init__(self) -> None:
        self._weight = np.empty(0, np.uint32)  # of the samples that were added up
        self._start = self._last = 0
        self._bucket = _SHORTEST_NS
        self._sums = np.zeros((2, 0))  # of all samples, and of those that were not idle

    def timeline(self, samples: SampleBatch, modes: UInt8s, most: int) -> Timeline:
        """The timeline of samples in at most `most` buckets; see `timeline_of`.

        Args:
            samples: they begin with those of the last time.
            modes: of each, as shown.
            most: buckets.
        """
        if not len(samples) or most < 1:
            return EMPTY
        known = len(self._weight)
        fresh = samples.time[known:]
        if not begins_with(samples.weight, self._weight) or (known and (fresh < self._start).any()):
            known, fresh = 0, samples.time
        if not known:
            self._start = self._last = int(fresh[0])
        if len(fresh):
            self._start = min(self._start, int(fresh.min()))
            self._last = max(self._last, int(fresh.max()))
        shown = _bucket_for(self._last - self._start + 1, most)
        bucket = _SHORTEST_NS
        while bucket * 10 <= shown:
            bucket *= 10
        if not known or bucket < self._bucket:
            known, fresh = 0, samples.time
            self._bucket, self._sums = bucket, np.zeros((2, 0))
        self._sums = _merged(self._sums, bucket // self._bucket)
        self._bucket, self._weight = bucket, samples.weight
        at, weight = (fresh - self._start) // bucket, samples.weight[known:]
        length = (self._last - self._start) // bucket + 1
        sums = np.pad(self._sums, ((0, 0), (0, length - self._sums.shape[1])))
        sums[0] += np.bincount(at, weight, length)
        sums[1] += np.bincount(at, weight * (modes[known:] != Mode.IDLE), length)
        self._sums = sums
        total, busy = _merged(sums, shown // bucket)
        share = np.full(len(total), np.nan)
        np.divide(busy, total, out=share, where=total > 0)
        return Timeline(self._start, shown, share)


def timeline_of(samples: SampleBatch, modes: UInt8s, most: int) -> Timeline:
    """The timeline of samples in at most `most` buckets.

    Buckets are 1, 2 or 5 times a power of ten long, and the first begins with the first sample:
    while time goes on the line grows at its end, and what it showed stays where it is.

    Args:
        samples: in any order.
        modes: of each, as shown.
        most: buckets.
    """
    return Busy().timeline(samples, modes, most)


def _merged(sums: NDArray[np.float64], by: int) -> NDArray[np.float64]:
    """So many buckets made one; the last may be of fewer."""
    length = -(-sums.shape[1] // by)
    padded = np.pad(sums, ((0, 0), (0, length * by - sums.shape[1])))
    merged: NDArray[np.float64] = padded.reshape(len(sums), length, by).sum(axis=2)
    return merged


def _bucket_for(span_ns: int, most: int) -> int:
    """The shortest round bucket of which at most `most` cover a span."""
    bucket, steps = _SHORTEST_NS, (2, 2, 2.5)  # 50 ms, 100 ms, 200 ms, 500 ms, …
    step = 0
    while -(-span_ns // bucket) > most:
        bucket = int(bucket * steps[step % 3])
        step += 1
    return bucket
