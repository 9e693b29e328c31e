"""Samples of a source, for as long as a test needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gprof.sampling.source import SampleBatch, Source
from tests.waiting import Deadline


def taken_until(source: Source, samples: int) -> SampleBatch:
    """So many samples or more; then the source is closed."""
    batches: list[SampleBatch] = []
    deadline = Deadline(f"{samples} samples", lambda: f"There are {sum(map(len, batches))}")
    for batch in source.batches():
        batches.append(batch)
        if sum(map(len, batches)) >= samples:
            source.close()
        deadline.check()
    return SampleBatch.concatenate(batches)


def until(condition: Callable[[], object], batches: Iterator[SampleBatch], source: Source) -> None:
    """Go on sampling until something is so."""
    deadline = Deadline("what the test waits for", lambda: f"The source says {source.facts()}")
    while not condition():
        deadline.check()
        next(batches)


def advance(source: Source, batches: Iterator[SampleBatch], samples: int) -> None:
    """Go on sampling until there are so many more samples."""
    aim = source.facts().taken + samples
    until(lambda: source.facts().taken >= aim, batches, source)


def rest(batches: Iterator[SampleBatch]) -> list[SampleBatch]:
    """What still comes of a source that is to end."""
    found: list[SampleBatch] = []
    deadline = Deadline("the end of the batches", lambda: f"There were {len(found)} more")
    for batch in batches:
        found.append(batch)
        deadline.check()
    return found
