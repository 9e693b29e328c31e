"""A live session over what perf records."""

from __future__ import annotations

from gprof.given_symbols import GivenSymbols
from gprof.live import Live
from gprof.perf_spaces import NamedPerf, PerfSpaces
from gprof.profile.code import Code
from gprof.recording.writer import Writer
from gprof.sampling.perf import PerfFile
from gprof.sampling.perf_live import PerfLive


def begin_perf(
    source: PerfFile | PerfLive,
    given: GivenSymbols,
    *,
    writer: Writer | None = None,
    duration_s: float | None = None,
) -> tuple[Live, dict[int, Code]]:
    """A session over what perf records now, not yet started, and the code of its guests."""
    found = PerfSpaces(given)
    named = NamedPerf(source, found)
    live = Live(
        named,
        named.known,
        recorder=writer,
        duration_s=duration_s,
        memories=found.code,
    )
    return live, found.code
