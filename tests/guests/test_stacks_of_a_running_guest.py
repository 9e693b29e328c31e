"""Stacks that are taken without stopping the guest, held to what its functions call."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

from gprof.profile.profile import Profile
from gprof.recording.reader import read
from symbols.unwinding.stack import Ending
from tests.command_line import end, started
from tests.guests.recordings import await_recording
from tests.guests.watched_demo import SHARES, WatchedDemo

#: Caller and callee of all work, by construction.
CALLS: dict[str, str] = SHARES["calls"]
WORK = frozenset(CALLS.values())
#: What is between them and the bottom of every stack.
BELOW = ["do_work", "run_rounds"]


def whole(profile: Profile) -> int:
    """How many stacks were not cut."""
    return sum(n for name, n in profile.facts.endings.items() if Ending[name.upper()].whole)


def stacks_at_work(profile: Profile) -> Iterator[tuple[int, list[str]]]:
    """How often each stack was seen, and its names from the function at work outwards."""
    space = profile.space(0)
    for number, pcs in profile.stacks.since(1):
        # Every address but the leaf's is behind a call.
        found = [space.symbol_at(pc - bool(depth)) for depth, pc in enumerate(pcs)]
        names = [at.symbol.name if at is not None else "?" for at in found]
        if names[0] in WORK and len(names) >= 2:
            yield int((profile.samples.stack == number).sum()), names


def test_stacks_that_hold_are_what_the_guest_really_calls(
    demo_guest: WatchedDemo, tmp_path: Path
) -> None:
    path = tmp_path / "x.gprof"
    at, vmlinux = demo_guest.addresses("monitor"), ("--guestvmlinux", demo_guest.image)
    with started("record", *at, *vmlinux, "--call-graph", "fp", "-o", path) as process:
        await_recording(
            path,
            lambda profile: (
                whole(profile) >= 30 and sum(seen for seen, _ in stacks_at_work(profile)) >= 20
            ),
        )
        assert end(process, signal.SIGINT)[0] == 0
    profile = read(path)
    assert profile.facts.halted_ns == 0
    assert profile.facts.way == "qmp"
    for _, names in stacks_at_work(profile):
        # Also of those that are cut: what is kept of them holds.
        assert CALLS[names[1]] == names[0], names
        assert names[2:4] == BELOW[: len(names) - 2], names
