"""What the reader of perf.data finds in bytes."""

from __future__ import annotations

import io

from gprof.perfdata import PerfData, Samples


def read(data: bytes) -> tuple[PerfData, list[Samples]]:
    """A file of these bytes, and all samples in it."""
    perf = PerfData.from_file(io.BytesIO(data))
    return perf, [samples for chunk in perf.chunks() for samples in chunk]


def ips(found: list[Samples]) -> list[int]:
    """Where they are."""
    return [int(ip) for samples in found for ip in samples.ip]
