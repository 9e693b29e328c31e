"""When a guest that is starting is searched for its kernel, and what counts as found."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gprof import kernel_search
from gprof.attach import Attached
from gprof.kernel_search import KernelSearch
from gprof.sampling.source import Mode, SampleBatch
from symbols.errors import MismatchError, SlideUnknown

HALF = (1 << 63, (1 << 64) - 1)
KERNEL, PROGRAM = 0xFFFF_FFFF_8100_0000, 0x40_0000
FILES, MEMORY = "files", "memory"
NOT_YET = SlideUnknown("nothing is there yet", "")
OTHER = MismatchError("the files are of another kernel", "")


class Guest:
    """Answers every search in turn; the last answer is the one of all others, too."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.given = SimpleNamespace(without_kernel=lambda: MEMORY)

    def again(self, given: str = FILES) -> Attached:
        self.asked.append(given)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return cast("Attached", answer)


class Clock:
    """A time that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def monotonic_ns(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kernel_search, "time", clock)
    return clock


def found(slide: object = "slide") -> Attached:
    return cast("Attached", SimpleNamespace(slide=slide))


def sampled(search: KernelSearch, guest: Guest, *pcs: int, mode: Mode = Mode.KERNEL) -> Any:
    return search.look(SampleBatch.of(pcs, time=77, mode=mode), cast("Attached", guest), HALF)


@pytest.mark.parametrize(
    ("pc", "mode", "tells"),
    [
        (KERNEL, Mode.KERNEL, True),
        (KERNEL, Mode.IDLE, True),
        (PROGRAM, Mode.USER, True),
        (PROGRAM, Mode.KERNEL, False),
        (KERNEL, Mode.FIRMWARE, False),
    ],
)
def test_what_shows_that_a_kernel_runs(pc: int, mode: Mode, tells: bool) -> None:
    guest = Guest(there := found())
    search = KernelSearch(0, running=True)
    assert sampled(search, guest, pc, mode=mode) is (there if tells else None)
    assert len(guest.asked) == tells
    # Once seen, it needs no more samples.
    assert sampled(search, guest) is (there if tells else None)


def test_a_guest_begins_with_its_first_sample_unless_it_runs() -> None:
    search = KernelSearch(5, running=False)
    sampled(search, Guest(NOT_YET))
    assert search.began_ns == 5
    sampled(search, Guest(NOT_YET), PROGRAM)
    assert search.began_ns == 77
    search = KernelSearch(5, running=True)
    sampled(search, Guest(NOT_YET), PROGRAM)
    assert search.began_ns == 5


def test_it_is_searched_ever_more_seldom(clock: Clock) -> None:
    guest = Guest(NOT_YET)
    search = KernelSearch(clock.now, running=True)
    times = []
    for _ in range(80):
        before = len(guest.asked)
        assert sampled(search, guest, KERNEL) is None
        if len(guest.asked) > before:
            times.append(clock.now)
        clock.now += 100_000_000
    tenths = [(after - before) // 100_000_000 for before, after in pairwise(times)]
    assert tenths == [2, 4, 8, 16, 20, 20]


def test_a_search_that_takes_long_is_followed_by_a_longer_pause(clock: Clock) -> None:
    class Slow(Guest):
        def again(self, given: str = FILES) -> Attached:
            clock.now += 1_000_000_000
            return super().again(given)

    guest = Slow(NOT_YET)
    search = KernelSearch(clock.now, running=True)
    sampled(search, guest, KERNEL)
    clock.now += 3_999_999_999
    sampled(search, guest, KERNEL)
    assert len(guest.asked) == 1
    clock.now += 1
    sampled(search, guest, KERNEL)
    assert len(guest.asked) == 2


def test_what_has_no_kernel_is_not_found() -> None:
    assert sampled(KernelSearch(0, running=True), Guest(found(slide=None)), KERNEL) is None


def test_files_of_another_kernel_are_tried_for_a_while(clock: Clock) -> None:
    guest = Guest(OTHER, OTHER, there := found())
    search = KernelSearch(clock.now, running=True)
    assert sampled(search, guest, KERNEL) is None
    assert search.mismatch is None
    clock.now += 5_000_000_000
    assert sampled(search, guest, KERNEL) is there
    assert guest.asked == [FILES, FILES, MEMORY]
    assert search.mismatch is OTHER


def test_a_mismatch_that_passed_is_none(clock: Clock) -> None:
    guest = Guest(OTHER, NOT_YET, there := found())
    search = KernelSearch(clock.now, running=True)
    clock.now += 5_000_000_000
    assert sampled(search, guest, KERNEL) is None
    assert search.mismatch is OTHER
    clock.now += 5_000_000_000
    assert sampled(search, guest, KERNEL) is there
    assert search.mismatch is None
