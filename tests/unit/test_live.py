"""The live loop: what a source gives is in the profile and on disk, however it ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gprof.errors import GprofError, TargetGone
from gprof.live import Finished, Live
from gprof.profile.profile import Guest
from gprof.recording.reader import read
from gprof.recording.writer import Writer
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic
from tests.waiting import PATIENCE, wait_until

TABLE = SymbolTable.of([Symbol("spin", 0x1000, 0x1010)])
SPACE = AddressSpace([LoadedImage("[kernel]", ImageKind.KERNEL, 0x1000, 0x2000, TABLE)],
                     kernel_half=(0, (1 << 64) - 1))  # fmt: skip
GUEST = Guest(0, "test", "x86_64", (0,))


class Scripted:
    """A source that gives what it is told, and then waits to be closed, ends, or fails."""

    def __init__(self, batches: int, ending: GprofError | str = "wait") -> None:
        self._batches = batches
        self._ending = ending
        self._closed = threading.Event()
        self.given = threading.Event()

    def batches(self) -> Iterator[SampleBatch]:
        for number in range(self._batches):
            yield SampleBatch.of([0x1000 + number, 0x1004], time=number)
        self.given.set()
        if isinstance(self._ending, GprofError):
            raise self._ending
        if self._ending == "wait":
            assert self._closed.wait(PATIENCE)
            yield SampleBatch.of([0x1008], time=99)

    def facts(self) -> SourceFacts:
        return SourceFacts("test", "nothing", taken=self._batches)

    def close(self) -> None:
        self._closed.set()


def known() -> tuple[dict[int, Guest], dict[int, AddressSpace]]:
    return {0: GUEST}, {0: SPACE}


def test_stop_keeps_what_came_until_the_source_has_ended() -> None:
    source = Scripted(10)
    live = Live(source, known)
    live.start()
    assert source.given.wait(PATIENCE)
    assert not live.ended
    live.stop()
    assert live.wait(PATIENCE)
    assert live.failure is None
    profile = live.snapshot()
    assert len(profile.samples) == 21
    assert profile.samples.pc[-1] == 0x1008
    assert profile.guests == {0: GUEST}


def test_whoever_computes_gives_way_to_the_sampler() -> None:
    before = sys.getswitchinterval()
    try:
        for here, expected in ((0.005, Live.GIVE_WAY_S), (0.0001, 0.0001)):
            sys.setswitchinterval(here)
            live = Live(Scripted(1, "end"), known)
            live.start()
            assert sys.getswitchinterval() == pytest.approx(expected, abs=2e-6)
            assert live.wait(PATIENCE)
    finally:
        sys.setswitchinterval(before)


def test_a_duration_ends_it() -> None:
    live = Live(Scripted(3), known, duration_s=0.05)
    live.start()
    assert live.wait(PATIENCE)
    assert len(live.snapshot().samples) == 7


def test_a_source_that_ends_by_itself_ends_the_session() -> None:
    live = Live(Scripted(2, "end"), known)
    live.start()
    assert live.wait(PATIENCE)
    assert live.failure is None


def test_a_failure_is_kept_and_what_came_before_it_too(tmp_path: Path) -> None:
    gone = TargetGone("the guest went away")
    path = tmp_path / "x.gprof"
    live = Live(Scripted(5, gone), known, recorder=Writer.open(path))
    live.start()
    assert live.wait(PATIENCE)
    assert live.failure is gone
    assert len(live.snapshot().samples) == 10
    assert len(read(path).samples) == 10


def test_reset_forgets_on_screen_and_not_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    source = Scripted(10)
    live = Live(source, known, recorder=Writer.open(path))
    live.start()
    assert source.given.wait(PATIENCE)
    wait_until(lambda: len(live.snapshot().samples) >= 20, "20 samples", pause=0.01)
    live.reset()
    assert len(live.snapshot().samples) == 0
    live.stop()
    assert live.wait(PATIENCE)
    assert live.snapshot().samples.pc.tolist() == [0x1008]
    assert len(read(path).samples) == 21


def test_the_code_of_hot_functions_is_recorded_while_the_guest_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    code = bytes(range(16))
    source = Scripted(1)
    live = Live(
        source,
        known,
        recorder=Writer.open(path),
        memories={0: BytesMemory([(0x1000, code)])},
    )
    live.start()
    assert source.given.wait(PATIENCE)
    live.stop()
    assert live.wait(PATIENCE)
    assert read(path).texts[0].read(0x1000, 16) == code


def test_a_snapshot_does_not_change() -> None:
    source = Scripted(1)
    live = Live(source, known)
    live.start()
    assert source.given.wait(PATIENCE)
    wait_until(lambda: len(live.snapshot().samples), "samples", pause=0.01)
    before = live.snapshot()
    pcs = before.samples.pc.copy()
    live.stop()
    assert live.wait(PATIENCE)
    assert np.array_equal(before.samples.pc, pcs)
    assert len(live.snapshot().samples) > len(pcs)


def test_a_finished_session_is_what_it_is() -> None:
    profile = synthetic(100)
    session = Finished(profile)
    session.reset()
    assert session.ended
    assert session.failure is None
    assert session.snapshot() is profile
