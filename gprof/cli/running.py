"""Running a live session from a command: signals, progress, the words at the end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from gprof.attach import Attached, Sources, attach
from gprof.cli.options import LiveOptions
from gprof.cli.waiting import telling_if_slow
from gprof.live import Live
from gprof.profile.profile import Profile
from gprof.recording.writer import Writer
from gprof.sampling.halting import HaltingOptions, HaltingSource


def begin(
    options: LiveOptions, sources: Sources, *, writer: Writer | None = None, name: str = ""
) -> tuple[Live, Attached]:
    """Attach to the guest and make a session over it, not yet started.

    Raises:
        GprofError: the guest cannot be reached, or its symbols are of another kernel.
    """
    with telling_if_slow("Reading the symbols of the guest from its memory..."):
        attached = attach(options.gdb, sources, name)
    try:
        source = HaltingSource(
            attached.machine,
            HaltingOptions(
                hz=options.hz,
                vcpus=options.vcpus,
                max_halted=options.max_halted_percent / 100,
            ),
        )
    except BaseException:
        attached.machine.stub.close()
        raise
    live = Live(
        source,
        {0: attached.guest},
        {0: attached.space},
        recorder=writer,
        duration_s=options.duration_s,
        memories={0: attached.machine.memory},
    )
    return live, attached


@contextmanager
def ending_gently(live: Live) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the session; a second one ends the program."""

    def end(number: int, _frame: FrameType | None) -> None:
        live.stop()
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else 0)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_with_progress(live: Live) -> None:
    """Start a session and wait for its end, with one line of progress on a terminal.

    Raises:
        GprofError: the session failed; everything until then is written.
    """
    terminal = sys.stderr.isatty()
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
        f"halted {facts.halted_percent:.2f} %",
    ]
    if facts.errors:
        parts.append(f"errors {facts.errors}")
    if facts.late:
        parts.append(f"late {facts.late}")
    return "  ".join(parts) + "  (Ctrl-C ends)"


def tell_end(profile: Profile, path: Path | None) -> None:
    """Say on stderr what was taken, what it cost, and what to do next."""
    facts = profile.facts
    for note in facts.notes:
        click.echo(note, err=True)
    click.echo(
        f"{len(profile.samples)} samples in {facts.covered_ns / 1e9:.1f} s, "
        f"{facts.reached_hz:.0f} Hz a vcpu; the guest was halted {facts.halted_ns / 1e6:.1f} ms "
        f"({facts.halted_percent:.2f} % of the time).",
        err=True,
    )
    if path is not None:
        click.echo(f"Wrote {path}. Look at it with: gprof report -i {path}", err=True)
