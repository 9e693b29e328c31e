"""`gprof record`."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    PATH,
    call_graph_option,
    duration_option,
    given_symbols,
    live_choice,
    live_options,
    mount_option,
    refuse_several,
    refuse_unheeded,
    symbol_options,
)
from gprof.cli.perf_options import open_perf, perf_choice, perf_option


@click.command("record")
@live_options
@duration_option("until Ctrl-C")
@call_graph_option
@perf_option
@symbol_options
@mount_option
@click.option("-o", "--output", type=PATH, metavar="FILE",
              help="The recording.  [default: gprof-<time>.gprof]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a recording that is there.")
def command(
    *,
    perf: bool,
    output: Path | None,
    force: bool,
    **given: Any,
) -> int:
    """Sample a guest into a file.

    Ends after --duration, with Ctrl-C, or when the guest goes away; the recording is complete in
    every case.
    """
    from gprof.cli.running import begin, run_with_progress, tell_end
    from gprof.cli.running_perf import begin_perf
    from gprof.recording.writer import Writer

    refuse_several(given, None, perf=perf)
    options, wanted = live_choice(given), perf_choice(given)
    refuse_unheeded(wanted, options, None, runs=perf)
    symbols = given_symbols(given)
    path = output or Path(f"gprof-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.gprof")
    # Opened before the guest is touched: a wrong file must cost it nothing.
    sources = None
    if perf:
        symbols.open()
    else:
        sources = symbols.only()
    writer = Writer.open(path, force=force, started_ns=time.time_ns())
    try:
        if sources is None:
            live, _ = begin_perf(
                open_perf(wanted, options.hz), symbols, writer=writer, duration_s=options.duration_s
            )
        else:
            live, _ = begin(options, sources, writer=writer)
    except BaseException:
        writer.close()
        path.unlink(missing_ok=True)  # nothing was sampled
        raise
    run_with_progress(live)
    tell_end(live.snapshot(), path if live.failure is None else None)
    if live.failure is not None:
        raise live.failure
    return 0
