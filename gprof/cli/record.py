"""`gprof record`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import live_choice, live_options, open_sources, symbol_options


@click.command("record")
@live_options
@symbol_options
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
              help="The recording.  [default: gprof-<time>.gprof]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a recording that is there.")
def command(output: Path | None, force: bool, **given: Any) -> int:
    """Sample a guest into a file.

    Ends after --duration, with Ctrl-C, or when the guest goes away; the recording is complete in
    every case.
    """
    from gprof.cli.running import begin, run_with_progress, tell_end
    from gprof.recording.writer import Writer

    options = live_choice(given)
    sources = open_sources(given)
    path = output or Path(f"gprof-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.gprof")
    writer = Writer.open(path, force=force, started_ns=time.time_ns())
    try:
        live, _ = begin(options, sources, writer=writer)
    except BaseException:
        writer.close()
        path.unlink(missing_ok=True)  # nothing was sampled
        raise
    run_with_progress(live)
    tell_end(live.snapshot(), path)
    if live.failure is not None:
        raise live.failure
    return 0
