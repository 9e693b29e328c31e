"""Exits of a recording that is complete, that grows, or that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gprof.errors import FormatError, UsageError
from gprof.exit_watch import ExitWatch
from gprof.given_symbols import GivenSymbols
from gprof.profile.exit_table import ExitGroup, ExitSort
from gprof.sampling.exit_events import ExitEvent
from tests.perf_fixtures import FIXTURES, unpacked
from tests.waiting import PATIENCE, Deadline

REASON = (ExitGroup.REASON,)


def watch(path: Path, event: ExitEvent = ExitEvent.VMEXIT) -> ExitWatch:
    return ExitWatch(event, GivenSymbols(), path)


def test_a_file_is_counted_to_its_end(tmp_path: Path) -> None:
    watching = watch(unpacked("two-kvmstat", tmp_path))
    assert watching.wait(PATIENCE)
    assert watching.table(REASON, ExitSort.COUNT).events == 3834
    assert sorted(watching.names().values()) == ["pid 848", "pid 851"]
    assert watching.architecture == "x86_64"
    assert watching.wait()  # as often as one likes
    watching.stop()


def test_a_table_can_be_had_at_any_time(tmp_path: Path) -> None:
    """Numbers of a part of the file are those of a part: each seen is at most the last."""
    watching = watch(unpacked("two-kvmstat", tmp_path))
    seen: list[int] = []
    deadline = Deadline("the end of the file", lambda: seen[-10:])
    while not watching.wait(0):
        deadline.check()
        seen.append(watching.table((ExitGroup.VM, ExitGroup.SYMBOL), ExitSort.TIME).events)
    seen.append(watching.table(REASON, ExitSort.TIME).events)
    assert seen == sorted(seen)
    assert seen[-1] == 3834


def test_a_stream_can_be_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recording = unpacked("kvmstat-pipe", tmp_path).read_bytes()
    reading, writing = os.pipe()
    with os.fdopen(reading, "r") as stdin, os.fdopen(writing, "wb", buffering=0) as sink:
        monkeypatch.setattr("sys.stdin", stdin)
        sink.write(recording[:4096])
        watching = watch(Path("-"))
        assert not watching.wait(0.01)
        watching.stop()
        assert watching.wait(PATIENCE)


def test_damage_is_told_when_it_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        watch(tmp_path / "none")
    with pytest.raises(FormatError, match="has samples and no VM exits"):
        watch(FIXTURES.parent / "recordings" / "v1.0.gprof")
    with pytest.raises(FormatError, match="neither"):
        watch(Path(__file__))
    watching = watch(unpacked("two-kvmstat", tmp_path), ExitEvent.HCALL)
    with pytest.raises(UsageError, match="no events hcall"):
        watching.wait(PATIENCE)
