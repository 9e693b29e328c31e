"""`gprof report`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    INPUT,
    VcpuList,
    exits_option,
    given_symbols,
    host_option,
    mount_option,
    symbol_options,
)

GROUPS = ("symbol", "module", "mode", "vcpu", "guest")


@click.command("report")
@click.option("-i", "--input", "path", type=INPUT, required=True, metavar="FILE",
              help="A recording of gprof or perf; - is stdin.")  # fmt: skip
@symbol_options
@mount_option
@host_option
@click.option("--event", default="", metavar="NAME", help="Of perf's events, the one to show.")
@exits_option
@click.option("--sort", default="self", show_default=True, metavar="KEY,...",
              help="self, total, symbol, module, mode, vcpu, guest or address.")  # fmt: skip
@click.option("--group", type=click.Choice(GROUPS), default="symbol", show_default=True,
              help="What a row stands for.")  # fmt: skip
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N rows of text.")
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
def command(
    *,
    path: Path,
    host: bool,
    event: str,
    exits: bool,
    sort: str,
    group: str,
    no_idle: bool,
    vcpus: tuple[int, ...] | None,
    limit: int | None,
    form: str | None,
    **given: Any,
) -> int:
    """Print what a recording says.

    A recording carries the names of everything it sampled; symbols given here replace them.
    """
    from gprof.export.table import CsvTable, JsonTable, TextTable, sort_keys
    from gprof.inputs import load
    from gprof.profile.view import Filter, Group
    from gprof.sampling.source import Mode

    keys = sort_keys(sort)
    profile = load(path, given_symbols(given), host=host, event=event, exits=exits).profile
    chosen = Filter(
        modes=frozenset(Mode) - {Mode.IDLE} if no_idle else None,
        vcpus=None if vcpus is None else frozenset(vcpus),
    )
    out = sys.stdout.buffer
    if form == "json":
        JsonTable(chosen, Group(group), keys).write(profile, out)
    elif form == "csv":
        CsvTable(chosen, Group(group), keys).write(profile, out)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        TextTable(chosen, Group(group), keys, width=width, limit=limit).write(profile, out)
    return 0
