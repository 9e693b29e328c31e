"""`gprof report`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    PATH_OR_DASH,
    VcpuList,
    given_symbols,
    mount_option,
    symbol_options,
    task_option,
)
from gprof.cli.perf_options import exits_option, host_option

GROUPS = ("symbol", "module", "mode", "vcpu", "guest", "task", "process", "comm")


@click.command("report")
@click.option("-i", "--input", "path", type=PATH_OR_DASH, required=True, metavar="FILE",
              help="A recording of gprof or perf; - is stdin.")  # fmt: skip
@symbol_options
@mount_option
@host_option
@click.option("--event", default="", metavar="NAME", help="Of perf's events, the one to show.")
@exits_option
@click.option("--sort", default="self", show_default=True, metavar="KEY,...",
              help="self, total, symbol, module, mode, vcpu, guest, task, process or "
                   "address.")  # fmt: skip
@click.option("--group", type=click.Choice(GROUPS), default="symbol", show_default=True,
              help="What a row stands for.")  # fmt: skip
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3.")
@task_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N rows of text.")
@click.option("--tree", is_flag=True, help="Print the tree of calls, from the roots down.")
@click.option("--inverted", is_flag=True, help="With --tree, from the leaves to their callers.")
@click.option("--callers", metavar="SYMBOL", help="Print who calls a function, as a tree.")
@click.option("--callees", metavar="SYMBOL", help="Print what a function calls, as a tree.")
@click.option("--smallest", type=click.FloatRange(0, 100), default=0.5, show_default=True,
              metavar="PERCENT", help="Leave smaller branches of a tree out.")  # fmt: skip
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
    task: tuple[str, ...],
    limit: int | None,
    tree: bool,
    inverted: bool,
    callers: str | None,
    callees: str | None,
    smallest: float,
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
        tasks=task or None,
    )
    out = sys.stdout.buffer
    shape = _shape(tree, inverted, callers, callees, form)
    if shape is not None:
        from gprof.choosing import choose_symbol
        from gprof.export.tree import TextTree
        from gprof.profile.tree import Direction

        direction, symbol = shape
        if symbol:
            symbol = choose_symbol(profile, symbol).at.symbol.name
        TextTree(chosen, Direction(direction), symbol, smallest).write(profile, out)
    elif form == "json":
        JsonTable(chosen, Group(group), keys).write(profile, out)
    elif form == "csv":
        CsvTable(chosen, Group(group), keys).write(profile, out)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        TextTable(chosen, Group(group), keys, width=width, limit=limit).write(profile, out)
    return 0


def _shape(
    tree: bool, inverted: bool, callers: str | None, callees: str | None, form: str | None
) -> tuple[str, str] | None:
    """Direction of the tree that is asked for and the function it is around; None for a table.

    Raises:
        UsageError: options contradict each other.
    """
    from gprof.errors import UsageError

    chosen = [
        option
        for option, given in (("--tree", tree), ("--callers", callers), ("--callees", callees))
        if given
    ]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are given together", "Choose one of them.")
    if inverted and not tree:
        raise UsageError("--inverted is given without --tree", "It turns the tree of calls round.")
    if not chosen:
        return None
    if form is not None:
        raise UsageError(f"{chosen[0]} is text, not {form}", "Leave one of the two away.")
    return ("up" if inverted or callers else "down"), callers or callees or ""
