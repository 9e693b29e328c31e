"""Records: where each begins, found without a step of Python for each of a run of alike ones.

Samples of one event mostly have one size, so they lie at even distances. Such runs are found
by comparing a strided column of headers, and their words are copied as a matrix.

Source: struct perf_event_header and enum perf_event_type in include/uapi/linux/perf_event.h;
enum perf_user_event_type in tools/lib/perf/include/perf/event.h, Linux 6.12 (83 and later: 6.16).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata.cursor import Order

Words: TypeAlias = NDArray[np.uint64]
Offsets: TypeAlias = NDArray[np.int64]


class RecordType(IntEnum):
    """The records that this package knows by name; it passes over all others and counts them."""

    MMAP = 1
    LOST = 2
    COMM = 3
    EXIT = 4
    THROTTLE = 5
    UNTHROTTLE = 6
    FORK = 7
    READ = 8
    SAMPLE = 9
    MMAP2 = 10
    AUX = 11
    ITRACE_START = 12
    LOST_SAMPLES = 13
    SWITCH = 14
    SWITCH_CPU_WIDE = 15
    NAMESPACES = 16
    KSYMBOL = 17
    BPF_EVENT = 18
    CGROUP = 19
    TEXT_POKE = 20
    AUX_OUTPUT_HW_ID = 21
    HEADER_ATTR = 64
    HEADER_EVENT_TYPE = 65
    HEADER_TRACING_DATA = 66
    HEADER_BUILD_ID = 67
    FINISHED_ROUND = 68
    ID_INDEX = 69
    AUXTRACE_INFO = 70
    AUXTRACE = 71
    AUXTRACE_ERROR = 72
    THREAD_MAP = 73
    CPU_MAP = 74
    STAT_CONFIG = 75
    STAT = 76
    STAT_ROUND = 77
    EVENT_UPDATE = 78
    TIME_CONV = 79
    HEADER_FEATURE = 80
    COMPRESSED = 81
    FINISHED_INIT = 82
    COMPRESSED2 = 83


class CpuMode(IntEnum):
    """The lowest three bits of a record's misc: a number, not flags."""

    UNKNOWN = 0
    KERNEL = 1
    USER = 2
    HYPERVISOR = 3
    GUEST_KERNEL = 4
    GUEST_USER = 5


#: The records that hold others.
COMPRESSED = frozenset({RecordType.COMPRESSED, RecordType.COMPRESSED2})
#: Bits of misc that hold a `CpuMode`.
CPUMODE_MASK = 7

#: Types are small numbers: a larger one is text or noise behind the last record.
_LARGEST_TYPE = 0xFFFF
#: Only tracing data are long, some tens of megabytes on a machine with every driver loaded.
_LONGEST = 1 << 28
#: After so many samples of one size in a row a run is looked for.
_STREAK = 8
#: A run shorter than this is copied together with its irregular neighbours.
_SHORTEST_RUN = 32


@dataclass(slots=True)
class Frames:
    """The complete records of a block of bytes.

    Attributes:
        samples: runs of samples in their order: first offset, count and distance; the distance
            is 0 where `scattered` holds the offsets instead.
        scattered: offsets of irregular samples by the index of their entry in `samples`.
        others: offset and length of every other record, in order, payload included.
        end: the offset behind the last complete record.
        skip: bytes to pass over behind `end` that are not in the block: AUX area data.
        compressed: the last of `others` is a compressed record.
        junk: what lies at `end` is no record.
    """

    samples: list[tuple[int, int, int]] = field(default_factory=list)
    scattered: dict[int, Offsets] = field(default_factory=dict)
    others: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    skip: int = 0
    compressed: bool = False
    junk: bool = False

    @property
    def sample_count(self) -> int:
        """How many samples there are."""
        return sum(count for _, count, _ in self.samples)

    def sample_offsets(self) -> Offsets:
        """Where each sample begins, in order."""
        pieces = [
            first + distance * np.arange(count, dtype=np.int64)
            if distance
            else self.scattered[index]
            for index, (first, count, distance) in enumerate(self.samples)
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def frame(block: bytes, order: Order, start: int = 0) -> Frames:
    """Find the records of a block from `start` on, where one begins.

    Stops behind a compressed record: what is in it comes before what follows it.
    """
    header = struct.Struct(order + "IHH").unpack_from
    frames = Frames()
    loose: list[int] = []
    at, limit = start, len(block)
    previous, streak = 0, 0

    def settle() -> None:
        if loose:
            frames.scattered[len(frames.samples)] = np.array(loose, np.int64)
            frames.samples.append((loose[0], len(loose), 0))
            loose.clear()

    while at + 8 <= limit:
        kind, _, size = header(block, at)
        if kind == RecordType.SAMPLE and size >= 8:
            if at + size > limit:
                break
            streak = streak + 1 if size == previous else 0
            previous = size
            if streak >= _STREAK:
                count = _run_length(block, at, size, order)
                if count >= _SHORTEST_RUN:
                    settle()
                    frames.samples.append((at, count, size))
                    at += count * size
                    continue
                streak = -count
            loose.append(at)
            at += size
            continue
        length, payload = _length(block, at, kind, size, order)
        if kind > _LARGEST_TYPE or not 8 <= length <= _LONGEST:
            frames.junk = True
            break
        if at + length > limit:
            break
        frames.others.append((at, length))
        at += length
        if kind in COMPRESSED:
            frames.compressed = True
            break
        if payload:
            beyond = at + payload - limit
            if beyond > 0:
                frames.skip = beyond
                at = limit
                break
            at += payload
    settle()
    frames.end = at
    return frames


def _length(block: bytes, at: int, kind: int, size: int, order: Order) -> tuple[int, int]:
    """The length of a record, and of what follows it that only has to be passed over.

    TRACING_DATA and AUXTRACE have a payload beyond the size in their header. COMPRESSED2 says
    its length twice, and the 16 bits of the header may have run over (seen of perf 6.16).
    """
    word = at + 8
    if kind == RecordType.HEADER_TRACING_DATA and size >= 12 and len(block) >= word + 4:
        payload: int = struct.unpack_from(order + "I", block, word)[0]
        return size + (payload + 7 & ~7), 0
    if kind in {RecordType.AUXTRACE, RecordType.COMPRESSED2} and len(block) >= word + 8:
        told: int = struct.unpack_from(order + "Q", block, word)[0]
        if kind == RecordType.AUXTRACE and size >= 16:
            return size, told
        whole = 16 + told + 7 & ~7
        if kind == RecordType.COMPRESSED2 and whole & 0xFFFF == size:
            return whole, 0
    if kind in {RecordType.COMPRESSED2, RecordType.HEADER_TRACING_DATA, RecordType.AUXTRACE}:
        return max(size, 16), 0
    return size, 0


def _run_length(block: bytes, at: int, size: int, order: Order) -> int:
    """How many samples of one size follow one another, all complete."""
    count = (len(block) - at) // size
    headers: NDArray[Any] = np.ndarray((count,), order + "u8", block, at, (size,))
    # Of type, misc and size the misc alone may differ.
    mask, wanted = (
        np.uint64(struct.unpack(order + "Q", struct.pack(order + "IHH", *fields))[0])
        for fields in ((0xFFFFFFFF, 0, 0xFFFF), (RecordType.SAMPLE, 0, size))
    )
    low, step = 0, 64
    while low < count:
        high = min(low + step, count)
        other = headers[low:high] & mask != wanted
        if other.any():
            return low + int(other.argmax())
        low, step = high, step * 4
    return count


def head_words(block: bytes, frames: Frames, count: int, order: Order) -> Words:
    """The first `count` words of each sample, header included, as rows of a matrix.

    Its columns are contiguous: they are what is computed with. A sample that is shorter has zeros
    where its words would be.
    """
    words = np.zeros((count, frames.sample_count), np.uint64).T
    row = 0
    for index, (first, samples, distance) in enumerate(frames.samples):
        rows = words[row : row + samples]
        row += samples
        if distance:
            width = min(count, distance // 8)
            rows[:, :width] = np.ndarray(
                (samples, width), order + "u8", block, first, (distance, 8)
            )
        else:
            rows[:] = _gather_heads(block, frames.scattered[index], count, order)
    return words


def _gather_heads(block: bytes, offsets: Offsets, count: int, order: Order) -> Words:
    at = offsets[:, None] + 8 * np.arange(count)
    sizes: NDArray[Any] = np.ndarray((len(block) - 1,), order + "u2", block, 0, (1,))
    inside = at + 8 <= (offsets + sizes[offsets + 6])[:, None]
    return np.where(inside, gather(block, np.where(inside, at, 0), order + "u8"), 0)


def gather(block: bytes, at: Offsets, kind: str) -> NDArray[Any]:
    """The values of numpy type `kind` at any places of a block, in native byte order."""
    dtype = np.dtype(kind)
    if not at.size:
        return np.empty(at.shape, dtype.newbyteorder("="))
    anywhere: NDArray[Any] = np.ndarray((len(block) - dtype.itemsize + 1,), dtype, block, 0, (1,))
    return anywhere[at].astype(dtype.newbyteorder("="), copy=False)
