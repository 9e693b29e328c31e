"""`gprof stat`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gprof.cli.options import PATH_OR_DASH, POSITIVE, given_symbols, mount_option, symbol_options
from gprof.errors import UsageError

if TYPE_CHECKING:
    from gprof.exit_watch import ExitWatch
    from gprof.profile.exit_table import ExitGroup

EVENTS = ("vmexit", "mmio", "ioport", "msr", "hcall")
SORTS = ("time", "count", "max", "min", "mean", "p99", "reason")


@click.command("stat")
@click.option("-i", "--input", "path", type=PATH_OR_DASH, metavar="FILE",
              help="A recording of `perf kvm stat record`; - is stdin.")  # fmt: skip
@click.option("--perf", "live", is_flag=True, help="Let perf record the guests of this host now.")
@click.option("-p", "--pid", type=click.IntRange(min=1), metavar="PID",
              help="With --perf, the guest of this QEMU only.")  # fmt: skip
@click.option("-d", "--duration", type=POSITIVE, metavar="SECONDS", help="End after this long.")
@click.option("--interval", type=POSITIVE, metavar="SECONDS",
              help="While it is recorded, print the table so often.")  # fmt: skip
@symbol_options
@mount_option
@click.option("--event", type=click.Choice(EVENTS), default="vmexit", show_default=True,
              help="What to count.")  # fmt: skip
@click.option("--by", default="reason", show_default=True, metavar="vm,vcpu,reason,symbol",
              help="What to keep apart; symbol is the guest's function at the exit.")  # fmt: skip
@click.option("--sort", type=click.Choice(SORTS), default="time", show_default=True,
              help="The largest first.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N rows of text.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
def command(
    *,
    path: Path | None,
    live: bool,
    pid: int | None,
    duration: float | None,
    interval: float | None,
    event: str,
    by: str,
    sort: str,
    limit: int | None,
    form: str | None,
    **given: Any,
) -> int:
    """Count VM exits: how many, how long, by which function of the guest."""
    from gprof.exit_watch import ExitWatch
    from gprof.export.exit_table import exit_csv, exit_json, exit_notes, exit_text
    from gprof.profile.exit_table import ExitSort
    from gprof.sampling.exit_events import ExitEvent

    if live == (path is not None):
        raise UsageError(
            "give either -i or --perf",
            "-i reads a recording, --perf records the guests of this host.",
        )
    if pid is not None and not live:
        raise UsageError("--pid is given without --perf", "It names the QEMU that perf samples.")
    groups, symbols = _groups(by), given_symbols(given)
    symbols.open()  # a wrong file is told before perf starts
    watch = ExitWatch(ExitEvent(event), symbols, path, pid=pid)

    def show() -> None:
        table = watch.table(groups, ExitSort(sort))
        if form is not None:
            for note in exit_notes(table):
                click.echo(f"# note: {note}", err=True)
        if form == "json":
            click.echo(exit_json(table, watch.names()), nl=False)
        elif form == "csv":
            click.echo(exit_csv(table, watch.names()), nl=False)
        else:
            for line in exit_text(table, watch.names(), limit=limit):
                click.echo(line)

    _follow(watch, duration, interval, show, blank=form is None)
    show()
    return 0


def _groups(text: str) -> list[ExitGroup]:
    from gprof.profile.exit_table import ExitGroup

    try:
        return [ExitGroup(word.strip()) for word in text.split(",")]
    except ValueError:
        raise UsageError(
            f"--by {text} names something that exits cannot be kept apart by",
            f"Choose from {', '.join(ExitGroup)}, with commas between.",
        ) from None


def _follow(
    watch: ExitWatch,
    duration: float | None,
    interval: float | None,
    show: Callable[[], None],
    *,
    blank: bool,
) -> None:
    """Wait for the recording's end, the duration's, or Ctrl-C; show what there is in between."""
    begun = time.monotonic()
    due = begun + interval if interval else None
    try:
        while not watch.wait(0.1):
            now = time.monotonic()
            if duration is not None and now - begun >= duration:
                watch.stop()
                duration = None
            if due is not None and interval is not None and now >= due:
                show()
                if blank:
                    click.echo()
                due = now + interval
    except KeyboardInterrupt:
        watch.stop()
        watch.wait()
