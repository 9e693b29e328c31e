"""`gprof top`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gprof.cli.options import (
    PATH_OR_DASH,
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
from gprof.cli.source_options import source_options, source_tree

if TYPE_CHECKING:
    from gprof.exit_watch import ExitWatch
    from gprof.exits_on_demand import ExitsOnDemand
    from gprof.given_symbols import GivenSymbols


@click.command("top")
@click.option("-i", "--input", "path", type=PATH_OR_DASH, metavar="FILE",
              help="Look at a recording, or with - at what perf writes into a pipe.")  # fmt: skip
@live_options
@duration_option("until Ctrl-C")
@call_graph_option
@perf_option
@symbol_options
@mount_option
@source_options
@click.option("--plain", is_flag=True,
              help="Print tables line by line, for pipes and screen readers.")  # fmt: skip
def command(*, path: Path | None, perf: bool, plain: bool, **given: Any) -> int:
    """Show live where a guest spends its time.

    On a terminal a screen to sort, filter and annotate (? lists the keys); in a pipe, plain
    tables.
    """
    from gprof.cli.looking import look

    tree = source_tree(given)
    refuse_several(given, path, perf=perf)
    options, wanted = live_choice(given), perf_choice(given)
    refuse_unheeded(wanted, options, path, runs=perf)
    symbols = given_symbols(given)
    if path is not None and not _streams(path):
        from gprof.inputs import load
        from gprof.live import Finished

        loaded = load(path, symbols, host=wanted.host, event=wanted.event, exits=wanted.exits)
        look(
            Finished(loaded.profile),
            loaded.code,
            plain=plain,
            tree=tree,
            exits=_exits_of(path, symbols),
        )
        return 0
    if path is not None or perf:
        from gprof.cli.running_perf import begin_perf
        from gprof.sampling.perf import PerfFile

        symbols.open()  # a wrong file is told before anything is sampled
        source = (
            open_perf(wanted, options.hz)
            if perf
            else PerfFile("-", host=wanted.host, event=wanted.event, exits=wanted.exits)
        )
        live, code = begin_perf(source, symbols, duration_s=options.duration_s)
        exits = _exits_now(symbols, wanted.pid) if perf else None
        try:
            look(
                live,
                code,
                plain=plain,
                leave_at_end=options.duration_s is not None,
                exits=exits,
                tree=tree,
            )
        finally:
            if exits is not None:
                exits.stop()
        return 0
    # What attaches to a guest takes longer to import than a recording to open.
    from gprof.cli.running import begin

    live, guest = begin(options, symbols.only())
    look(
        live,
        guest.code,
        plain=plain,
        budget_percent=options.max_halted_percent,
        leave_at_end=options.duration_s is not None,
        tree=tree,
    )
    return 0


def _exits_now(symbols: GivenSymbols, pid: int | None) -> ExitsOnDemand:
    """The VM exits of the guests of this host, by a second perf that starts with their view."""
    from gprof.exit_watch import ExitWatch
    from gprof.exits_on_demand import ExitsOnDemand
    from gprof.sampling.exit_events import ExitEvent

    return ExitsOnDemand(lambda: ExitWatch(ExitEvent.VMEXIT, symbols, None, pid=pid))


def _exits_of(path: Path, symbols: GivenSymbols) -> ExitWatch | None:
    """The VM exits of a recording of perf that has some; they are read beside the screen."""
    from gprof.recording.recognition import kind_of

    if str(path) == "-" or kind_of(path) != "perf":
        return None
    from gprof.exit_watch import ExitWatch
    from gprof.sampling.exit_events import ExitEvent

    watch = ExitWatch(ExitEvent.VMEXIT, symbols, path)
    return watch if watch.has_events else None


def _streams(path: Path) -> bool:
    """Samples of perf come through standard input, perhaps while it records."""
    from gprof.recording.recognition import kind_of_stdin

    return str(path) == "-" and kind_of_stdin() == "perf"
