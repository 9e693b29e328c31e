"""`gprof demo`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gprof.cli.options import PATH, POSITIVE, LiveOptions, call_graph_option
from gprof.cli.terminal import can_draw

if TYPE_CHECKING:
    from gprof.recording.writer import Writer
    from symbols.source_tree import SourceTree

#: How long the demo goes on where nobody can end it with a key.
_PLAIN_DURATION = 10.0
#: Percent of the time that the guest may be halted: nobody waits for what this one does. With less
#: a host that is slow to wake up would leave it without call stacks.
_BUDGET = 20.0


@click.command("demo")
@call_graph_option
@click.option("--plain", is_flag=True, help="Print tables instead of opening a screen.")
@click.option("-d", "--duration", type=POSITIVE, metavar="SECONDS", help="End after this long.")
@click.option("-o", "--output", type=PATH, metavar="FILE",
              help="Record it too.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a recording that is there.")
def command(
    call_graph: str, plain: bool, duration: float | None, output: Path | None, force: bool
) -> int:
    """Run the bundled guest and look at it.

    A small kernel whose functions burn known shares of time, under QEMU; where that is not
    installed, a recording of it is played back.
    """
    from gprof.guest.demo import qemu_available
    from gprof.recording.writer import Writer

    plain = plain or not can_draw(sys.stdout, sys.stdin)
    if plain and duration is None:
        duration = _PLAIN_DURATION
    writer = None
    if output is not None:
        writer = Writer.open(output, force=force, started_ns=time.time_ns())
    try:
        if qemu_available() is not None:
            _run(writer, duration, call_graph, plain=plain)
        else:
            click.echo(
                "QEMU is not installed (apt-get install qemu-system-x86), so this is a recording "
                "of the demo guest, played back.",
                err=True,
            )
            _replay(writer, duration, plain=plain)
    finally:
        if writer is not None:
            writer.close()
    if output is not None:
        click.echo(f"Wrote {output}. Look at it with: gprof report -i {output}", err=True)
    return 0


def _run(writer: Writer | None, duration: float | None, call_graph: str, *, plain: bool) -> None:
    from gprof.cli.looking import look
    from gprof.cli.running import begin
    from gprof.guest.address import Address
    from gprof.guest.demo import DemoGuest
    from gprof.sources import Sources

    with DemoGuest() as guest:
        options = LiveOptions(
            guest.gdb_address, 99.0, duration, None, _BUDGET, call_graph=call_graph
        )
        # Where its socket lies is of no interest to anybody.
        address = Address("the bundled guest", path=guest.gdb_address)
        sources = Sources.open(guest.image, None, None)
        live, followed = begin(options, sources, address=address, writer=writer, name="demo")
        look(
            live,
            followed.code,
            plain=plain,
            budget_percent=options.max_halted_percent,
            leave_at_end=duration is not None,
            tree=_sources(),
        )


def _replay(writer: Writer | None, duration: float | None, *, plain: bool) -> None:
    from gprof.cli.looking import look
    from gprof.given_symbols import GivenSymbols
    from gprof.guest.demo import demo_file
    from gprof.inputs import load
    from gprof.live import Live
    from gprof.sampling.replay import Replay

    image = str(demo_file("demo.elf"))  # of which the recording has the names, not the lines
    loaded = load(demo_file("demo.gprof"), GivenSymbols.of(vmlinux=[image]))
    profile = loaded.profile
    live = Live(
        Replay(profile),
        lambda: (profile.guests, profile.spaces),
        recorder=writer,
        duration_s=duration,
        memories=loaded.code,
        stacks=profile.stacks,
    )
    look(live, loaded.code, plain=plain, leave_at_end=duration is not None, tree=_sources())


def _sources() -> SourceTree:
    """The bundled guest's own source."""
    from gprof.guest.demo import demo_file
    from symbols.source_tree import SourceTree

    return SourceTree([demo_file("workload.c").parent])
