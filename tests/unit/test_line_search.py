"""Lines that are looked for in the background."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from gprof.line_search import LineSearch
from symbols.errors import SymbolsError
from symbols.lines_of_space import SpaceLines
from symbols.source_frames import Chain, SourceFrame
from symbols.space import AddressSpace, ImageKind, LoadedImage
from tests.waiting import PATIENCE

IMAGE = LoadedImage("[kernel]", ImageKind.KERNEL, 0x1000, 0x9000, path="vmlinux")
SPACE = AddressSpace([IMAGE])
FRAME, OUTER = SourceFrame("read", "fs/read.c", 7), SourceFrame("all", "fs/all.c", 9)


class Slow(SpaceLines):
    """Answers when it may.

    Attributes:
        may: set when answers may be given.
        asked: every address, as it was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()
        self.asked: list[int] = []

    def find(self, space: AddressSpace, pcs: Iterable[int]) -> dict[int, Chain]:
        assert space is SPACE
        assert self.may.wait(PATIENCE)
        wanted = list(pcs)
        self.asked += wanted
        if 0x8000 in wanted:
            raise SymbolsError("the file is cut")
        return {pc: (FRAME, OUTER) if pc < 0x2000 else () for pc in wanted}

    def why(self, loaded: LoadedImage) -> str:
        return "no file was given" if loaded is IMAGE else ""


def addresses(*pcs: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(pcs, np.uint64)


def test_an_answer_comes_later_and_only_once() -> None:
    lines, found = Slow(), threading.Semaphore(0)
    search = LineSearch(lambda: lines, found.release)
    assert search.at(SPACE, addresses()) == []
    pcs = addresses(0x1000, 0x2000, 0x9000)
    assert search.at(SPACE, pcs) == [None] * 3
    assert search.at(SPACE, pcs) == [None] * 3
    lines.may.set()
    assert found.acquire(timeout=PATIENCE)
    known = search.at(SPACE, pcs)
    assert known == [FRAME, "no file was given", "no line is known there"]
    assert search.at(SPACE, addresses(0x8000)) == [None]
    assert found.acquire(timeout=PATIENCE)
    assert search.at(SPACE, addresses(0x1000, 0x8000)) == [FRAME, "the file is cut"]
    assert sorted(lines.asked) == [0x1000, 0x2000, 0x8000, 0x9000]
    search.close()


def test_what_was_found_is_told_while_the_rest_is_looked_for() -> None:
    lines, found = Slow(), threading.Semaphore(0)
    search = LineSearch(lambda: lines, found.release)
    lines.may.set()
    pcs = np.arange(0x1000, 0x1000 + 2500, dtype=np.uint64)
    search.at(SPACE, pcs)
    for _ in range(3):
        assert found.acquire(timeout=PATIENCE)
    assert set(search.at(SPACE, pcs)) == {FRAME}
    assert lines.asked == pcs.tolist()
    search.close()


def test_after_the_end_nothing_is_looked_for() -> None:
    lines, found = Slow(), threading.Semaphore(0)
    search = LineSearch(lambda: lines, found.release)
    search.at(SPACE, addresses(0x1000))
    search.close()
    lines.may.set()
    assert search.at(SPACE, addresses(0x1008)) == [None]
    never = LineSearch(lambda: lines, found.release)
    never.close()
    assert never.at(SPACE, addresses(0x1010)) == [None]
    assert not {0x1008, 0x1010} & set(lines.asked)
