"""Finding the kernel's table of symbols in memory of which nothing is known.

Of all that lies in a kernel's image, the addresses of its symbols are the largest row of numbers
that only rise: a few bytes every 16 KiB show where it is, so that a search over a slow connection
reads one or two megabytes instead of forty. From there on everything is exact: the tokens lie
before it (since 6.4) or behind it, their index proves them, the markers before them prove the
names, and the first symbol of the text proves the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from symbols.errors import IntrospectionError
from symbols.kallsyms_memory import (
    FEWEST_SYMBOLS,
    MOST_SYMBOLS,
    KallsymsTables,
    read_kallsyms,
)
from symbols.kallsyms_tokens import INDEX_SIZE, LONGEST_TOKEN, TOKENS, walk
from symbols.memory import Memory, gather
from symbols.symbol_lines import SymbolLines

_STEP = 16 << 10
_SAMPLE = 64
_AT_ONCE = 256
_PAGE = 4096
_CHUNK = 64 << 10
#: Numbers of neighbouring symbols differ by less than this, and by more than this in a sample.
_FARTHEST = 1 << 20
_NEAREST = 64
#: Offsets of four bytes, or addresses of eight, of as many symbols as we believe.
_LONGEST_ROW = 8 * MOST_SYMBOLS
#: Between a row and the tokens behind it lie all names: 12 bytes a symbol in a distribution's
#: kernel, and since 6.2 three more, where the row has four or eight.
_NAMES_PER_ROW = 8
_LARGEST_NAMES = 24 << 20
_MOST_ROWS = 64
#: Of every 256th name, how many prove the others.
_FEW_MARKS = 4

_DIGITS = b"".join(b"%c\0" % digit for digit in b"0123456789")
_ZERO = ord("0")


def find_kallsyms(
    memory: Memory, start: int, end: int, *, first: int | None = None
) -> tuple[KallsymsTables, SymbolLines]:
    """The table of symbols of the kernel whose image lies in a range.

    Args:
        memory: the guest's; what cannot be read is passed over.
        start: of the range, such as the first address of the kernel's image.
        end: of the range; the further, the longer a search that fails.
        first: runtime address of the kernel's first text, where known: the table must agree.

    Returns:
        Where the table is, and what it lists.

    Raises:
        IntrospectionError: there is none, or it is of another kernel.
    """
    problem: IntrospectionError | None = None
    for row in _rows(memory, start, end):
        window = _Window(memory, row, start, end)
        for tables in _tables(window):
            try:
                return tables, read_kallsyms(memory, tables, first=first)
            except IntrospectionError as error:
                problem = error
    raise problem or IntrospectionError(
        f"no table of symbols was found in the guest's memory from {start:#x} to {end:#x}",
        "Give --guestvmlinux or --guestkallsyms: the kernel is built without CONFIG_KALLSYMS, or "
        "has not booted yet.",
    )


class _Window:
    """A stretch of memory that grows in both directions.

    Attributes:
        start: its first address.
        data: its bytes.
    """

    def __init__(self, memory: Memory, middle: int, lowest: int, highest: int) -> None:
        self._memory = memory
        self._lowest = lowest
        self._highest = highest
        self._ends = [False, False]
        self.start = middle // _CHUNK * _CHUNK
        self.data = b""
        self.forwards()

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    def forwards(self) -> bool:
        """Take in the next chunk; False where memory ends."""
        if self._ends[1] or self.end >= self._highest:
            return False
        more = _readable(self._memory, self.end)
        self._ends[1] = len(more) < _CHUNK
        self.data += more
        return bool(more)

    def backwards(self) -> bool:
        """Take in the chunk before; False where memory begins."""
        if self._ends[0] or self.start <= self._lowest - _CHUNK or self.start < _CHUNK:
            return False
        more = gather(self._memory, [(self.start - _CHUNK, _CHUNK)])[0]
        if more is None:
            self._ends[0] = True
            return False
        self.data = more + self.data
        self.start -= _CHUNK
        return True


def _readable(memory: Memory, at: int) -> bytes:
    """The next chunk, or as many pages of it as can be read."""
    whole = gather(memory, [(at, _CHUNK)])[0]
    if whole is not None:
        return whole
    found = b""
    for page in gather(memory, [(page, _PAGE) for page in range(at, at + _CHUNK, _PAGE)]):
        if page is None:
            break
        found += page
    return found


def _rows(memory: Memory, start: int, end: int) -> Iterator[int]:
    """Addresses at which numbers lie that rise as those of symbols do."""
    tried = 0
    previous = -1
    places = range(start // _STEP * _STEP, end, _STEP)
    for i in range(0, len(places), _AT_ONCE):
        some = places[i : i + _AT_ONCE]
        samples = gather(memory, [(at, _SAMPLE) for at in some])
        for j in np.flatnonzero(_rising([sample or bytes(_SAMPLE) for sample in samples])):
            at = some[j]
            page = gather(memory, [(at, _PAGE)])[0]
            if page is None or not _rises(page):
                continue
            # One row shows many times: try its beginning, and no more of it.
            if at != previous + _STEP:
                tried += 1
                yield at
            previous = at
            if tried >= _MOST_ROWS:
                return


def _rises(data: bytes) -> bool:
    """Whether all numbers in `data` rise or fall steadily, in any form that addresses have."""
    return bool(_rising([data])[0])


def _rising(rows: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which of some rows of numbers rise or fall steadily; all are of one length."""
    data = b"".join(rows)
    found = np.zeros(len(rows), np.bool_)
    for order in "<>":
        offsets = np.frombuffer(data, order + "i4").astype(np.int64).reshape(len(rows), -1)
        # Else mostly aliases of one address, as zeros would be.
        differ = np.count_nonzero(np.diff(offsets), axis=1) >= offsets.shape[1] // 2
        places = offsets + np.arange(offsets.shape[1]) * 4
        # Addresses of eight bytes: differences are small, whatever the numbers.
        wide = np.frombuffer(data, order + "i8").astype(np.int64).reshape(len(rows), -1)
        for numbers in (offsets, -offsets, places, wide):
            steps = np.diff(numbers)
            steady = ((steps >= 0) & (steps < _FARTHEST)).all(axis=1)
            found |= differ & steady & (steps.sum(axis=1) > _NEAREST)
    return found


def _tables(window: _Window) -> Iterator[KallsymsTables]:
    """Every table whose parts agree, around the row of numbers that the window is at."""
    for start, end, little in _tokens(window):
        names = _names(window, start, little)
        if names is None:
            continue
        at, count, number = names
        for values, base, wide in _values(window, end, count, number, little):
            yield KallsymsTables(
                at, count, start, end - INDEX_SIZE, values, base, wide, little_endian=little
            )


def _tokens(window: _Window) -> Iterator[tuple[int, int, bool]]:
    """Addresses where tokens begin and their index ends, and the byte order, nearest first."""
    seen: set[int] = set()

    def fresh(low: int, high: int) -> Iterator[tuple[int, int, bool]]:
        at = window.data.find(_DIGITS, max(0, low), high)
        while at >= 0:
            found = _token_index(window.data, at)
            if found is not None and window.start + at not in seen:
                seen.add(window.start + at)
                yield window.start + found[0], window.start + found[1], found[2]
            at = window.data.find(_DIGITS, at + 1, high)

    # A chunk is searched with what a table that straddles its edge may have beyond it.
    edge = 4 * _PAGE
    yield from fresh(0, len(window.data))
    row = 0
    # The tokens end right before the row: no further back than where it begins.
    while row < _LONGEST_ROW and _any_rise(window.data[: _CHUNK // 2]) and window.backwards():
        row += _CHUNK
        yield from fresh(0, _CHUNK + edge)
    while row < _LONGEST_ROW and _any_rise(window.data[-_CHUNK // 2 :]) and window.forwards():
        row += _CHUNK
        yield from fresh(len(window.data) - _CHUNK - edge, len(window.data))
    beyond = window.end + _NAMES_PER_ROW * (row + _CHUNK)
    while window.end < beyond and window.forwards():
        yield from fresh(len(window.data) - _CHUNK - edge, len(window.data))


def _any_rise(data: bytes) -> bool:
    pages = [data[at : at + _PAGE] for at in range(0, len(data), _PAGE)]
    return any(len(page) == _PAGE and _rises(page) for page in pages)


def _token_index(data: bytes, zero: int) -> tuple[int, int, bool] | None:
    """Where the tokens begin whose `0` is at `zero`, where their index ends, and its byte order."""
    at = zero
    ends = []
    for _ in range(_ZERO, TOKENS):
        following = data.find(b"\0", at, at + LONGEST_TOKEN + 1)
        if following < 0:
            return None
        ends.append(following)
        at = following + 1
    offsets = np.array([zero, *(end + 1 for end in ends[:-1])], np.int64)
    for alignment in (8, 4):
        index_at = -(-at // alignment) * alignment
        for order in "<>":
            if index_at + INDEX_SIZE > len(data):
                continue
            index = np.frombuffer(data, order + "u2", TOKENS, index_at).astype(np.int64)
            start = zero - int(index[_ZERO])
            fits = index[0] == 0 and start >= 0 and (index[_ZERO:] + start == offsets).all()
            if fits and all(data[start + int(i) - 1] == 0 for i in index[1:_ZERO]):
                return start, index_at + INDEX_SIZE, order == "<"
    return None


def _names(window: _Window, tokens: int, little: bool) -> tuple[int, int, int] | None:
    """Addresses of the names that precede some tokens, of their number, and how many they are.

    Returns:
        Address of the names, their number, address of that number; None where there are none.
    """
    while True:
        for markers, marks in _markers(window, tokens, little):
            found = _numbered(window, markers, marks, little)
            if found is not None:
                return found
        length = len(window.data)
        # Twice as much each time, so that looking again costs as much as looking.
        while len(window.data) < 2 * length and window.backwards():
            pass
        if length > _LARGEST_NAMES or len(window.data) == length:
            return None


def _markers(window: _Window, tokens: int, little: bool) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Rows that begin with 0 and then rise as the places of every 256th name do, last first."""
    order = "<" if little else ">"
    for width in (4, 8):
        low = -window.start % width
        held = window.data[low : tokens - window.start]
        numbers = np.frombuffer(held[: len(held) // width * width], f"{order}u{width}")
        numbers = numbers.astype(np.uint64).view(np.int64)
        steps = np.diff(numbers)
        # The shortest name takes two bytes, the longest 512: a block of 256 between.
        rising = (steps >= 0x200) & (steps < 256 * LONGEST_TOKEN)
        begins = np.flatnonzero(rising & (numbers[:-1] == 0))
        stops = np.append(np.flatnonzero(~rising), len(rising))
        for begin in begins[::-1].tolist():
            stop = int(stops[np.searchsorted(stops, begin)])
            yield window.start + low + begin * width, numbers[begin : stop + 1]


def _numbered(
    window: _Window, markers: int, marks: NDArray[np.int64], little: bool
) -> tuple[int, int, int] | None:
    """The names before `markers` whose number fits them, checked by the places of all marks."""
    order = "<" if little else ">"
    low = -window.start % 4
    before = markers - window.start
    held = window.data[low:before]
    words = np.frombuffer(held[: len(held) // 4 * 4], order + "u4").astype(np.int64)
    places = low + np.arange(len(words)) * 4
    fits = (words > (len(marks) - 1) * 256) & (words <= len(marks) * 256)
    fits &= (words >= FEWEST_SYMBOLS) & (words <= MOST_SYMBOLS)
    # The markers follow the names, of which the last block begins at the last mark.
    last = int(marks[-1])
    fits &= (places >= before - last - 256 * LONGEST_TOKEN - 16) & (places <= before - last)
    for i in np.flatnonzero(fits).tolist():
        count, place = int(words[i]), int(places[i])
        # Eight bytes before 4.20; the end of today's four is filled up to eight.
        for number, names in ((place, place + 8), (place - 4, place + 4), (place, place + 4)):
            if _marked(window.data[names:before], count, marks):
                return window.start + names, count, window.start + number
    return None


def _marked(data: bytes, count: int, marks: NDArray[np.int64]) -> bool:
    """Whether `data` begins and ends with such blocks of names as the marks say.

    What lies between is walked when the names are spelled.
    """
    some = marks[:_FEW_MARKS]
    last = count - 256 * (len(marks) - 1)
    for long_lengths in (True, False):
        walked = walk(data, min(count, 256 * len(some)), long_lengths=long_lengths)
        behind = walk(data[int(marks[-1]) :], last, long_lengths=long_lengths)
        if walked is None or behind is None:
            continue
        # A mark is where the length before a name is.
        begins = np.concatenate([np.zeros(1, np.int64), walked[1][:-1]])[::256]
        if (begins == some).all() and len(data) - marks[-1] - behind[1][-1] <= 16:
            return True
    return False


def _values(
    window: _Window, behind: int, count: int, number: int, little: bool
) -> Iterator[tuple[int, int | None, bool]]:
    """Where the addresses may be: before the number of names, or behind the index of tokens.

    Yields:
        Their address, the base of offsets, and whether they are not offsets but addresses.
    """
    number = number // 8 * 8
    size = -(-4 * count // 8) * 8
    tight, behind = -(-behind // 4) * 4, -(-behind // 8) * 8
    while window.end < behind + 8 * count + 8 and window.forwards():
        pass
    while window.start > number - 8 * count - 8 and window.backwards():
        pass
    order: Literal["little", "big"] = "little" if little else "big"

    def word(at: int) -> int:
        offset = at - window.start
        return int.from_bytes(window.data[offset : offset + 8], order)

    yield number - 8 - size, word(number - 8), False
    yield behind, word(behind + size), False
    # Linux 7.2 aligns the row to no more than its own four bytes.
    yield tight, None, False
    yield behind, None, False
    yield number - 8 * count, None, True
    yield behind, None, True
