"""Samples of a source, for as long as a test needs them."""

from __future__ import annotations

from gprof.sampling.source import SampleBatch, Source


def taken_until(source: Source, samples: int) -> SampleBatch:
    """So many samples or more; then the source is closed."""
    batches = []
    for batch in source.batches():
        batches.append(batch)
        if sum(map(len, batches)) >= samples:
            source.close()
    return SampleBatch.concatenate(batches)
