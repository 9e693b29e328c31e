"""`gprof dump`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    PATH,
    call_graph_option,
    given_symbols,
    guest_options,
    mount_option,
    symbol_options,
)
from gprof.cli.source_options import kept_lines
from gprof.errors import UsageError


@click.command("dump")
@guest_options
@click.option(
    "--core",
    type=PATH,
    metavar="FILE",
    help="Look at what QEMU's dump-guest-memory has written instead of a guest.",
)
@click.option(
    "--tasks", is_flag=True, help="Every task too: its state, what it waits in, and its stack."
)
@call_graph_option
@click.option(
    "--inline/--no-inline",
    default=True,
    show_default=True,
    help="Show inlined functions and source lines, where the vmlinux tells them.",
)
@symbol_options
@mount_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")  # fmt: skip
def command(
    *,
    gdb: str | None,
    qmp: str | None,
    core: Path | None,
    tasks: bool,
    call_graph: str,
    inline: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Print the stack, the registers and the task of every vcpu, all of one instant.

    The guest is stopped once, for less than a millisecond. One that is found stopped is read as
    it stands, and stays so. Tasks are read from memory: with --qmp without stopping the guest.
    """
    from gprof.attach import attach, attach_core
    from gprof.cli.finding import reach
    from gprof.cli.waiting import telling_if_slow
    from gprof.dump import lines_of, take
    from gprof.guest.address import Address
    from symbols.unwinding.unwind import Way

    if core is not None and (gdb or qmp):
        raise UsageError("--core is given together with a running guest", "Choose one of them.")
    sources = given_symbols(given).only()
    lines = kept_lines() if inline else None
    if core is not None:
        attached = attach_core(core, sources)
    else:
        stub, monitor = (Address.parse(one) if one else None for one in reach(gdb, qmp))
        attached = attach(stub, sources, monitor=monitor)
    try:
        with telling_if_slow("Reading the tasks and stacks of the guest..."):
            dump = take(attached, Way(call_graph), tasks=tasks, lines=lines)
    finally:
        attached.close()
        if lines is not None:
            lines.close()
    if as_json:
        click.echo(json.dumps(dump.content()))
    else:
        for line in lines_of(dump):
            click.echo(line)
    return 0
