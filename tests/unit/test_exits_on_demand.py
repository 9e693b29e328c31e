"""Exits that begin to be counted when somebody looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gprof.errors import GprofError, TargetError
from gprof.exit_watch import ExitWatch
from gprof.exits_on_demand import ExitsOnDemand
from gprof.given_symbols import GivenSymbols
from gprof.profile.exit_table import ExitGroup
from gprof.sampling.exit_events import ExitEvent
from tests.perf_fixtures import unpacked
from tests.waiting import PATIENCE

REASON = (ExitGroup.REASON,)


def test_a_perf_of_our_own_begins_with_the_first_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = unpacked("kvmstat-pipe", tmp_path)
    whole = ExitWatch(ExitEvent.VMEXIT, GivenSymbols(), recording)
    assert whole.wait(PATIENCE)
    begun: list[ExitWatch] = []

    def begin() -> ExitWatch:
        begun.append(ExitWatch(ExitEvent.VMEXIT, GivenSymbols(), None))
        return begun[-1]

    monkeypatch.setattr("gprof.exit_watch.exit_command", lambda *_, **__: ["cat", str(recording)])
    exits = ExitsOnDemand(begin)
    assert not begun
    assert exits.count(REASON).events <= whole.count(REASON).events
    assert begun[0].wait(PATIENCE)
    assert exits.count(REASON).events == whole.count(REASON).events > 0
    assert exits.names().keys() == whole.names().keys()
    assert len(begun) == 1
    exits.stop()


def test_a_failure_to_begin_is_told_and_not_tried_again() -> None:
    tries = []

    def begin() -> ExitWatch:
        tries.append(1)
        raise TargetError("perf cannot be started", "Install perf.")

    exits = ExitsOnDemand(begin)
    for _ in range(3):
        with pytest.raises(TargetError, match="perf cannot be started"):
            exits.count(REASON)
    assert len(tries) == 1
    exits.stop()


def test_what_was_stopped_does_not_begin() -> None:
    def begin() -> ExitWatch:
        raise AssertionError

    exits = ExitsOnDemand(begin)
    exits.stop()
    with pytest.raises(GprofError, match="has ended"):
        exits.count(REASON)
