"""`gprof list`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> int:
    """List the QEMU guests of this host and how to reach them.

    From the command lines of their processes; no guest is touched.
    """
    from gprof.guest.local import local_guests
    from symbols.names import printable

    guests = local_guests()
    if as_json:
        shown = [
            {**asdict(guest), "name": printable(guest.name), "domain": printable(guest.domain)}
            for guest in guests
        ]
        click.echo(json.dumps({"guests": shown}, indent=2))
        return 0
    if not guests:
        click.echo("No QEMU runs here that this user can see.", err=True)
        return 0
    for guest in guests:
        click.echo(f"{guest.pid:>8}  {guest.program:<20} {printable(guest.name) or '-'}")
        domains = (guest.domain,) if guest.domain else ()
        for option, addresses in (
            ("--gdb", guest.gdb),
            ("--qmp", guest.qmp),
            ("--domain", domains),
        ):
            for address in addresses:
                click.echo(f"{'':10}{option} {printable(address)}")
        if not guest.reachable:
            click.echo(f"{'':10}has no gdbstub and no QMP monitor that could be reached")
    return 0
