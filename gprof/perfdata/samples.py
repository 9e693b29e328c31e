"""Samples of one event as columns.

The fields of a sample follow one another in the order in which the kernel writes them. The
first nine are a word each and so lie at fixed places; the others vary in length, and where one
begins is computed for all samples at once, one addition of columns a field.

Source: perf_output_sample in kernel/events/core.c and evsel__parse_sample in
tools/perf/util/evsel.c, Linux 6.12 (the comment in the uapi header has AUX at the wrong place).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata.attributes import Attribute, ReadFormat, SampleField
from gprof.perfdata.cursor import Order
from gprof.perfdata.records import CPUMODE_MASK, Offsets, Words, gather

#: The fields of one word each, in the order of a sample.
_FIXED = (
    SampleField.IDENTIFIER,
    SampleField.IP,
    SampleField.TID,
    SampleField.TIME,
    SampleField.ADDR,
    SampleField.ID,
    SampleField.STREAM_ID,
    SampleField.CPU,
    SampleField.PERIOD,
)
#: The fields behind them that this package locates, in the order of a sample.
_VARYING = (SampleField.READ, SampleField.CALLCHAIN, SampleField.RAW)


def head_size(attribute: Attribute) -> int:
    """Words of a sample whose places are fixed, its header included."""
    return 1 + sum(attribute.has(field) for field in _FIXED)


def id_position(attribute: Attribute) -> int | None:
    """Which word of a sample holds the id of its event; None where there is none."""
    if attribute.has(SampleField.IDENTIFIER):
        return 1
    return _position(attribute, SampleField.ID)


def _position(attribute: Attribute, wanted: SampleField) -> int | None:
    if not attribute.has(wanted):
        return None
    return 1 + sum(attribute.has(field) for field in _FIXED[: _FIXED.index(wanted)])


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of differing length: row i is `values[start[i]:start[i + 1]]`."""

    values: Words
    start: Offsets


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one event, in the order of the file. A column is made when it is asked for.

    A field that the event does not sample reads as zeros, the period as the attribute's;
    `attribute.has` tells. All columns have the length of the whole. They keep the block that
    the samples were read from in memory: take what you need and let go of this.

    Attributes:
        event: index of the event in `PerfData.events`.
        attribute: how the event was asked for.
        words: the fixed words of each sample, in native order; its columns are contiguous.
        offset: where in `block` each begins.
        block: the bytes that they were read from.
        order: their byte order.
    """

    event: int
    attribute: Attribute
    words: Words
    offset: Offsets
    block: bytes
    order: Order

    def __len__(self) -> int:
        return len(self.words)

    @property
    def misc(self) -> NDArray[np.uint16]:
        shift = 32 if self.order == "<" else 16
        return (self.words[:, 0] >> np.uint64(shift)).astype(np.uint16)

    @property
    def cpumode(self) -> NDArray[np.uint8]:
        """A `CpuMode` each."""
        return self.misc.astype(np.uint8) & np.uint8(CPUMODE_MASK)

    @property
    def size(self) -> Offsets:
        """Bytes of each record, its header included."""
        shift = 48 if self.order == "<" else 0
        return ((self.words[:, 0] >> np.uint64(shift)) & np.uint64(0xFFFF)).view(np.int64)

    @property
    def ip(self) -> Words:
        """The instruction's address; in a guest, the guest's virtual one."""
        return self._word(SampleField.IP)

    @property
    def thread(self) -> Words:
        """Process and thread in one word, to tell samples apart."""
        return self._word(SampleField.TID)

    @property
    def pid(self) -> NDArray[np.int32]:
        """The process, of the host even where the sample is of a guest."""
        return self._halves(SampleField.TID)[0].astype(np.int32)

    @property
    def tid(self) -> NDArray[np.int32]:
        """The thread, of the host even where the sample is of a guest."""
        return self._halves(SampleField.TID)[1].astype(np.int32)

    @property
    def time(self) -> NDArray[np.int64]:
        """Nanoseconds of the clock that was chosen, mostly the scheduler's."""
        return self._word(SampleField.TIME).astype(np.int64)

    @property
    def address(self) -> Words:
        """The data address that a memory event was taken at."""
        return self._word(SampleField.ADDR)

    @property
    def id(self) -> Words:
        """The id of the counter that took the sample."""
        position = id_position(self.attribute)
        return self._zeros() if position is None else self.words[:, position]

    @property
    def cpu(self) -> NDArray[np.uint32]:
        """The processor, of the host even where the sample is of a guest."""
        return self._halves(SampleField.CPU)[0]

    @property
    def period(self) -> Words:
        """How many events each sample stands for."""
        if not self.attribute.has(SampleField.PERIOD):
            return np.full(len(self), self.attribute.period, np.uint64)
        return self._word(SampleField.PERIOD)

    def select(self, mask: NDArray[np.bool_]) -> Samples:
        """The samples where `mask` is true."""
        return self.take(np.flatnonzero(mask))

    def take(self, rows: Offsets) -> Samples:
        """The samples of some indices, in their order."""
        words = self.words.T.take(rows, axis=1).T
        return Samples(self.event, self.attribute, words, self.offset[rows], self.block, self.order)

    def callchains(self) -> Ragged:
        """The addresses of each sample's call chain, innermost first, context markers included.

        A chain that would reach beyond its record is empty.
        """
        begin = self._begin(SampleField.CALLCHAIN)
        count = np.zeros(len(self), np.int64)
        if begin is not None:
            count = self._counted(begin)
        start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        if begin is None or not start[-1]:
            return Ragged(np.empty(0, np.uint64), start)
        row = np.repeat(np.arange(len(self)), count)
        nth = np.arange(start[-1]) - start[row]
        return Ragged(gather(self.block, begin[row] + 8 * (1 + nth), self.order + "u8"), start)

    def raw(self) -> tuple[Offsets, Offsets]:
        """Where each sample's raw data begins in `block`, and how many bytes they are.

        A sample without raw data, or with some that would reach beyond it, has 0 bytes.
        """
        begin = self._begin(SampleField.RAW)
        none = np.zeros(len(self), np.int64)
        if begin is None:
            return none, none
        size = self._read(begin, "u4", 4).astype(np.int64)
        inside = begin + 4 + size <= self._end
        return np.where(inside, begin + 4, 0), np.where(inside, size, 0)

    def raw_field(self, offset: int, size: int, signed: bool = False) -> NDArray[np.int64]:
        """An integer of the raw data of each sample, such as a field of a tracepoint.

        Args:
            offset: where in the raw data it lies.
            size: 1, 2, 4 or 8 bytes.
            signed: how to read it; unsigned words above 2^63 - 1 come out modulo 2^64.

        Returns:
            i64; 0 where a sample's raw data are too short.
        """
        if size not in {1, 2, 4, 8}:
            raise ValueError(f"an integer has 1, 2, 4 or 8 bytes, not {size}")
        start, length = self.raw()
        inside = length >= offset + size
        at = np.where(inside, start + offset, 0)
        kind = f"{self.order}{'i' if signed else 'u'}{size}"
        return np.where(inside, gather(self.block, at, kind).astype(np.int64), 0)

    @property
    def _end(self) -> Offsets:
        return self.offset + self.size

    def _zeros(self) -> Words:
        return np.zeros(len(self), np.uint64)

    def _word(self, field: SampleField) -> Words:
        position = _position(self.attribute, field)
        return self._zeros() if position is None else self.words[:, position]

    def _halves(self, field: SampleField) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        word = self._word(field)
        low, high = word.astype(np.uint32), (word >> np.uint64(32)).astype(np.uint32)
        return (low, high) if self.order == "<" else (high, low)

    def _read(self, at: Offsets, kind: str, size: int) -> NDArray[np.uint64]:
        """The integers at `at`, 0 where one would reach beyond its record."""
        inside = at + size <= self._end
        found = gather(self.block, np.where(inside, at, 0), self.order + kind)
        return np.where(inside, found, 0).astype(np.uint64)

    def _counted(self, begin: Offsets) -> Offsets:
        """The counts at `begin`, 0 where that many words would reach beyond the record."""
        count = self._read(begin, "u8", 8)
        room = np.maximum(self._end - begin - 8, 0) // 8
        return np.where(count <= room.astype(np.uint64), count, 0).astype(np.int64)

    def _begin(self, wanted: SampleField) -> Offsets | None:
        """Where a field of varying place begins in each sample; None where it is not sampled."""
        if not self.attribute.has(wanted):
            return None
        begin = self.offset + 8 * head_size(self.attribute)
        for field in _VARYING[: _VARYING.index(wanted)]:
            if self.attribute.has(field):
                begin = begin + self._length_of[field](self, begin)
        return begin

    def _read_length(self, begin: Offsets) -> Offsets:
        """Bytes of the counters' values (PERF_SAMPLE_READ)."""
        of = self.attribute.read_format
        times = bool(of & ReadFormat.TOTAL_TIME_ENABLED) + bool(of & ReadFormat.TOTAL_TIME_RUNNING)
        each = 1 + bool(of & ReadFormat.ID) + bool(of & ReadFormat.LOST)
        if not of & ReadFormat.GROUP:
            return np.full(len(self), 8 * (each + times), np.int64)
        return 8 * (1 + times + each * self._counted(begin))

    def _chain_length(self, begin: Offsets) -> Offsets:
        return 8 * (1 + self._counted(begin))

    @property
    def _length_of(self) -> dict[SampleField, Callable[[Samples, Offsets], Offsets]]:
        return {
            SampleField.READ: Samples._read_length,
            SampleField.CALLCHAIN: Samples._chain_length,
        }
