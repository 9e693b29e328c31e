"""Running a live session from a command: progress, the words at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gprof.attach import attach
from gprof.cli.ending import ending_gently
from gprof.cli.finding import find
from gprof.cli.options import LiveOptions
from gprof.cli.terminal import can_draw
from gprof.cli.waiting import telling_if_slow
from gprof.followed_guest import FollowedGuest
from gprof.guest.address import Address
from gprof.guest_stacks import said_of, unstacking_of
from gprof.live import Live
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.sampling_way import require_both, source_of
from gprof.sources import Sources
from gprof.task_following import follow_tasks
from symbols.unwinding.unwind import Way

if TYPE_CHECKING:  # a screen shows nothing before everything is imported
    from gprof.recording.writer import Writer


def begin(
    options: LiveOptions,
    sources: Sources,
    *,
    address: Address | None = None,
    writer: Writer | None = None,
    name: str = "",
) -> tuple[Live, FollowedGuest]:
    """Attach to the guest and make a session over it, not yet started.

    Args:
        options: how to sample.
        sources: its symbols.
        address: of its stub; that of the options where None.
        writer: takes everything down.
        name: of the guest; its address where empty.

    Returns:
        The session, and the guest as it changes meanwhile.

    Raises:
        GprofError: the guest cannot be reached, or its symbols are of another kernel.
    """
    if address is None:
        options = find(options)
    stub = address or (Address.parse(options.gdb) if options.gdb else None)
    monitor = options.monitor
    if options.max_latency_ns is not None:
        require_both(stub=stub is not None, monitor=monitor is not None)
    with telling_if_slow("Reading the symbols of the guest from its memory..."):
        attached = attach(stub, sources, name, monitor=monitor)
    stacks, tasks, user_spaces = StackTable(), TaskTable(), UserSpaces()
    try:
        way = Way(options.call_graph)
        unstacking, following, no_tasks = None, None, ""
        if not attached.starting:
            unstacking, unwinding = unstacking_of(attached, way, stacks)
            following, no_tasks = follow_tasks(attached, tasks, user_spaces)
        source = source_of(
            attached,
            hz=options.hz,
            vcpus=options.vcpus,
            max_halted=options.max_halted_percent / 100,
            unstacking=unstacking,
            stacks_if_cheap=options.call_graph == Way.AUTO,
            following=following,
            by_running=options.weight == "running",
            max_latency_ns=options.max_latency_ns,
        )
        if attached.monitored is not None:
            source.note(attached.monitored.monitor_client.remark)
        if attached.stub_samples:
            source.note(attached.hazards())
        if not attached.starting:
            source.note(said_of(unwinding, asked=way is not Way.NONE))
            source.note(no_tasks)
        guest = FollowedGuest(
            attached, source, way, stacks=stacks, tasks=tasks, user_spaces=user_spaces
        )
    except BaseException:
        attached.close()
        raise
    live = Live(
        guest,
        guest.known,
        recorder=writer,
        duration_s=options.duration_s,
        memories={0: guest.memory},
        stacks=stacks,
        tasks=tasks,
        user_spaces=user_spaces,
    )
    return live, guest


def run_with_progress(live: Live) -> None:
    """Start a session and wait for its end, with one line of progress on a terminal.

    Raises:
        GprofError: the session failed; everything until then is written.
    """
    terminal = can_draw(sys.stderr)
    with ending_gently(live):
        live.start()
        while not live.wait(0.25):
            if terminal:
                click.echo(f"\r{progress(live.snapshot())}\x1b[K", nl=False, err=True)
    if terminal:
        click.echo("\r\x1b[K", nl=False, err=True)


def progress(profile: Profile) -> str:
    """How sampling goes, in one line."""
    facts = profile.facts
    parts = [
        f"{facts.covered_ns / 1e9:.0f} s",
        f"{len(profile.samples):,} samples".replace(",", " "),
        f"{facts.reached_hz:.0f} Hz (asked {facts.asked_hz:g})",
    ]
    if facts.way != "perf":  # which stops nothing
        parts.append(f"halted {facts.halted_percent:.2f} %")
    if facts.errors:
        parts.append(f"errors {facts.errors}")
    if facts.late:
        parts.append(f"late {facts.late}")
    return "  ".join(parts) + "  (Ctrl-C ends)"


def tell_end(profile: Profile, path: Path | None) -> None:
    """Say on stderr what was taken, what it cost, and what to do next."""
    from gprof.export.notes import told

    facts = profile.facts
    for note in told(facts.notes):
        click.echo(note, err=True)
    taken = (
        f"{len(profile.samples)} samples in {facts.covered_ns / 1e9:.1f} s, "
        f"{facts.reached_hz:.0f} Hz a vcpu"
    )
    if facts.halted_ns:
        taken += (
            f"; the guest was halted {facts.halted_ns / 1e6:.1f} ms "
            f"({facts.halted_percent:.2f} % of the time"
        )
        if facts.stop_work_ns:
            taken += f", {facts.stop_work_ns / 1e6:.1f} ms of it in what QEMU does around stops"
        taken += ")"
    click.echo(f"{taken}.", err=True)
    if path is not None:
        click.echo(f"Wrote {path}. Look at it with: gprof report -i {path}", err=True)
