"""How busy the vcpus were over time, in equal buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def timeline_of(samples: SampleBatch, modes: UInt8s, most: int) -> Timeline:
    """The timeline of samples in at most `most` buckets.

    Buckets are 1, 2 or 5 times a power of ten long, and the first begins with the first sample:
    while time goes on the line grows at its end, and what it showed stays where it is.

    Args:
        samples: in any order.
        modes: of each, as shown.
        most: buckets.
    """
    if not len(samples) or most < 1:
        return EMPTY
    start, last = int(samples.time.min()), int(samples.time.max())
    bucket = _bucket_for(last - start + 1, most)
    at = (samples.time - start) // bucket
    length = int((last - start) // bucket) + 1
    total = np.bincount(at, samples.weight, length)
    busy = np.bincount(at, samples.weight * (modes != Mode.IDLE), length)
    share = np.full(length, np.nan)
    np.divide(busy, total, out=share, where=total > 0)
    return Timeline(start, bucket, share)


def _bucket_for(span_ns: int, most: int) -> int:
    """The shortest round bucket of which at most `most` cover a span."""
    bucket, steps = _SHORTEST_NS, (2, 2, 2.5)  # 50 ms, 100 ms, 200 ms, 500 ms, …
    step = 0
    while -(-span_ns // bucket) > most:
        bucket = int(bucket * steps[step % 3])
        step += 1
    return bucket
