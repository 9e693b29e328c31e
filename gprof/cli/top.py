"""`gprof top`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    INPUT,
    given_symbols,
    live_choice,
    live_options,
    mount_option,
    open_perf,
    perf_option,
    refuse_several,
    symbol_options,
)


@click.command("top")
@click.option("-i", "--input", "path", type=INPUT, metavar="FILE",
              help="Look at a recording, or with - at what perf writes into a pipe.")  # fmt: skip
@live_options
@perf_option
@symbol_options
@mount_option
@click.option("--plain", is_flag=True,
              help="Print tables line by line, for pipes and screen readers.")  # fmt: skip
def command(*, path: Path | None, perf: bool, plain: bool, **given: Any) -> int:
    """Show live where a guest spends its time.

    On a terminal a screen to sort, filter and annotate (? lists the keys); in a pipe, plain
    tables.
    """
    from gprof.cli.looking import look
    from gprof.cli.running import begin, begin_perf

    refuse_several(given, path, perf=perf)
    options = live_choice(given)
    symbols = given_symbols(given)
    if path is not None and str(path) != "-":
        from gprof.inputs import load
        from gprof.live import Finished

        loaded = load(path, symbols)
        look(Finished(loaded.profile), loaded.code, plain=plain)
        return 0
    if path is not None or perf:
        from gprof.sampling.perf import PerfFile

        exits = bool(given["exits"])
        source = open_perf(given, options.hz) if perf else PerfFile("-", exits=exits)
        live, code = begin_perf(source, symbols, duration_s=options.duration_s)
        look(live, code, plain=plain, leave_at_end=options.duration_s is not None)
        return 0
    live, attached = begin(options, symbols.only())
    look(
        live,
        {0: attached.code},
        plain=plain,
        budget_percent=options.max_halted_percent,
        leave_at_end=options.duration_s is not None,
    )
    return 0
