"""`gprof dump`."""

from __future__ import annotations

import json
from typing import Any

import click

from gprof.cli.options import DEFAULT_GDB, call_graph_option, given_symbols, symbol_options


@click.command("dump")
@click.option("--gdb", metavar="ADDR", default=DEFAULT_GDB, show_default=True,
              help="The guest's gdbstub, host:port or the path of a unix socket.")  # fmt: skip
@call_graph_option
@symbol_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, gdb: str, call_graph: str, as_json: bool, **given: Any) -> int:
    """Print the stack and the registers of every vcpu, all of one instant.

    The guest is stopped once, for less than a millisecond. One that is found stopped is read as
    it stands, and stays so.
    """
    from gprof.attach import attach
    from gprof.dump import take
    from gprof.guest.address import Address
    from symbols.unwinding.unwind import Way

    sources = given_symbols(given).only()
    attached = attach(Address.parse(gdb), sources)
    try:
        dump = take(attached, Way(call_graph))
    finally:
        attached.close()
    if as_json:
        click.echo(json.dumps(dump.content()))
    else:
        for line in dump.lines():
            click.echo(line)
    return 0
