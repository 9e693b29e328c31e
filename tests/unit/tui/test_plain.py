"""The table line by line, for pipes and screen readers."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.view import Group
from gprof.sampling.source import Mode, SampleBatch
from tests.screen_text import assert_golden
from tests.sessions import FrozenSession, frozen
from tests.unit.tui.test_outside_text import hostile_profile
from tui.choice import Choice
from tui.plain import print_plain

GOLDENS = Path(__file__).parent / "goldens"


def printed(profile: Profile, choice: Choice | None = None, rows: int = 10) -> str:
    out = io.StringIO()
    print_plain(FrozenSession(profile), out, rows=rows, choice=choice, budget_percent=1)
    return out.getvalue()


def test_a_session_that_has_ended_gives_one_block() -> None:
    assert_golden(printed(frozen(stacks=True)), GOLDENS / "plain.txt")


@pytest.mark.parametrize("group", list(Group))
def test_every_grouping_has_its_columns(group: Group) -> None:
    lines = printed(frozen(), Choice(group=group), rows=100).splitlines()[3:]
    assert lines[0].endswith(f"  {group.value.capitalize()}")
    busy = int((Resolution().of(frozen()).mode != Mode.IDLE).sum())
    assert 0 < busy < 2000
    assert sum(int(line.split()[1]) for line in lines[1:]) == busy


def test_text_from_outside_stays_on_its_line() -> None:
    text = printed(hostile_profile())
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text.splitlines()) == 4 + 1 + 10
    assert "left\\u202eright" in text


def test_no_samples() -> None:
    text = printed(replace(frozen(), samples=SampleBatch.empty()))
    assert text.splitlines()[-1].split() == ["Self", "%", "Samples", "Mode", "Module", "Symbol"]


class Clock:
    """Time that passes only by being looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


def test_blocks_come_until_the_duration_is_over() -> None:
    out, clock = io.StringIO(), Clock()
    session = FrozenSession(frozen(), ended=False)
    print_plain(session, out, interval_s=4, duration_s=10, rows=1, clock=clock, stop=Impatient())
    assert len(out.getvalue().split("\n\n")) == 3
    assert clock.now >= 10


class Impatient(threading.Event):
    """Waits for nothing."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def test_it_ends_with_its_session_and_when_it_is_stopped() -> None:
    session = FrozenSession(frozen(), ended=False)

    class Ending(Impatient):
        def wait(self, timeout: float | None = None) -> bool:
            session.ended = True
            return super().wait(timeout)

    out = io.StringIO()
    print_plain(session, out, interval_s=1e9, rows=1, stop=Ending())
    assert "ENDED" in out.getvalue()

    session.ended = False
    stop = threading.Event()
    stop.set()
    out = io.StringIO()
    print_plain(session, out, interval_s=1e9, rows=1, stop=stop)
    assert "LIVE" in out.getvalue()


def test_a_pipe_never_pays_for_the_screen() -> None:
    code = "import sys, tui.plain; sys.exit(any(m.split('.')[0] == 'textual' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_of_several_guests_name_theirs() -> None:
    profile = frozen()
    guest = profile.samples.guest.copy()
    guest[1000:] = 1
    two = replace(
        profile,
        samples=replace(profile.samples, guest=guest),
        guests={**profile.guests, 1: Guest(1, "db\x1b[1]")},
        spaces={0: profile.space(0), 1: profile.space(0)},
    )
    lines = printed(two).splitlines()
    assert lines[3].split() == ["Self", "%", "Samples", "Mode", "Guest", "Module", "Symbol"]
    assert {line.split()[3] for line in lines[4:]} == {"web1", "db\\x1b[1]"}
    assert "Guest" not in printed(profile)
    assert "several" not in printed(two, Choice(group=Group.VCPU))
