"""What this package raises, and nothing else, on bytes that are no perf.data."""

from __future__ import annotations

from gprof.errors import FormatError


class PerfDataError(FormatError):
    """Bytes are no perf.data, or one that is damaged beyond use."""
