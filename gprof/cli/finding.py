"""Which guest is meant where nobody says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from gprof.cli.options import DEFAULT_GDB, LiveOptions
from gprof.errors import UsageError
from gprof.guest.local import LocalGuest, listens, local_guests
from symbols.names import printable

_DEFAULT_PORT = 1234


def find(options: LiveOptions) -> LiveOptions:
    """The options with an address in them: see `reach`."""
    if options.gdb or options.qmp or options.domain is not None:
        return options
    gdb, qmp = reach(None, None)
    return replace(options, gdb=gdb, qmp=qmp)


def reach(gdb: str | None, qmp: str | None) -> tuple[str | None, str | None]:
    """The addresses of a stub and of a monitor: those given, the usual one, or the only ones.

    Raises:
        UsageError: there are several guests, or one without anything to connect to.
    """
    if gdb or qmp:
        return gdb, qmp
    usual = (DEFAULT_GDB, None)
    if any(listens(_DEFAULT_PORT, _text(f"/proc/net/{name}")) for name in ("tcp", "tcp6")):
        return usual
    guests = local_guests()
    reachable = [guest for guest in guests if guest.reachable]
    if not guests:
        return usual  # whose failure explains how to start one
    if not reachable:
        raise UsageError(
            f"{called(guests[0])} has neither a gdbstub nor a QMP monitor that could be reached",
            "Start QEMU with `-s` or with `-qmp unix:/path/to/socket,server=on,wait=off`; for a "
            "libvirt guest, add that through `<qemu:commandline>`.",
        )
    if len(reachable) > 1:
        raise UsageError(
            f"{len(reachable)} guests run here",
            "Choose one:\n" + "\n".join(f"  {how(guest)}   {called(guest)}" for guest in reachable),
        )
    (only,) = reachable
    if not only.gdb and not only.qmp:
        raise UsageError(
            f"{called(only)} is managed by libvirt",
            f"{how(only)} samples it through libvirt, which then marks it as tainted.",
        )
    click.echo(f"Taking {called(only)}: {how(only)}", err=True)
    return (only.gdb[0], None) if only.gdb else (None, only.qmp[0])


def called(guest: LocalGuest) -> str:
    """What a person knows a guest by."""
    name = f"{printable(guest.name)} " if guest.name else ""
    return f"{name}({guest.program}, process {guest.pid})"


def how(guest: LocalGuest) -> str:
    """The option that reaches a guest."""
    if guest.gdb:
        return f"--gdb {printable(guest.gdb[0])}"
    if guest.qmp:
        return f"--qmp {printable(guest.qmp[0])}"
    return f"--domain {printable(guest.domain)}" if guest.domain else ""


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:
        return ""
