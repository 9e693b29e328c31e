"""`gprof top`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    live_choice,
    live_options,
    open_sources,
    refuse_both,
    symbol_options,
)


@click.command("top")
@click.option("-i", "--input", "path", type=click.Path(path_type=Path), metavar="FILE",
              help="Look at a recording instead of a live guest.")  # fmt: skip
@live_options
@symbol_options
@click.option("--plain", is_flag=True,
              help="Print tables line by line, for pipes and screen readers.")  # fmt: skip
def command(path: Path | None, plain: bool, **given: Any) -> int:
    """Show live where a guest spends its time.

    On a terminal a screen to sort, filter and annotate (? lists the keys); in a pipe, plain
    tables.
    """
    from gprof.cli.looking import look
    from gprof.live import Finished

    refuse_both(given["gdb"], path)
    options = live_choice(given)
    sources = open_sources(given)
    if path is not None:
        from gprof.inputs import load

        loaded = load(path, sources)
        look(Finished(loaded.profile), loaded.code, plain=plain)
        return 0

    from gprof.cli.running import begin

    live, attached = begin(options, sources)
    look(
        live,
        {0: attached.code},
        plain=plain,
        budget_percent=options.max_halted_percent,
        leave_at_end=options.duration_s is not None,
    )
    return 0
