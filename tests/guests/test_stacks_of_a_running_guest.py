"""Stacks that are taken without stopping the guest, held to what its functions call."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gprof.guest.demo import DemoGuest, demo_file
from gprof.recording.reader import read
from symbols.unwinding.stack import Ending
from tests.command_line import gprof

#: Caller and callee of all work, by construction.
CALLS: dict[str, str] = json.loads(demo_file("shares.json").read_text())["calls"]
WORK = frozenset(CALLS.values())
#: What is between them and the bottom of every stack.
BELOW = ["do_work", "run_rounds"]
SHORT = 5


@pytest.mark.timeout(400)
def test_stacks_that_hold_are_what_the_guest_really_calls(
    demo_guest: DemoGuest, tmp_path: Path
) -> None:
    path = tmp_path / "x.gprof"
    at = ("--qmp", demo_guest.qmp_address, "--guestvmlinux", demo_guest.image)
    seconds = SHORT
    while True:
        gprof("record", *at, "--call-graph", "fp", "-d", str(seconds), "-o", path, "--force")
        profile = read(path)
        endings = profile.facts.endings
        whole = sum(n for name, n in endings.items() if Ending[name.upper()].whole)
        if whole >= 30:
            break
        seconds *= 2  # the guest boots, or the host is busy
        assert seconds < 200, endings
    assert profile.facts.halted_ns == 0
    assert profile.facts.way == "qmp"
    space = profile.space(0)
    seen = 0
    for number, pcs in profile.stacks.since(1):
        # Every address but the leaf's is behind a call.
        found = [space.symbol_at(pc - bool(depth)) for depth, pc in enumerate(pcs)]
        names = [at.symbol.name if at is not None else "?" for at in found]
        if names[0] not in WORK or len(names) < 2:
            continue
        count = int((profile.samples.stack == number).sum())
        seen += count
        # Also of those that are cut: what is kept of them holds.
        assert CALLS[names[1]] == names[0], names
        assert names[2:4] == BELOW[: len(names) - 2], names
    assert seen >= 20
