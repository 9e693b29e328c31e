"""A perf.data from its header to its last record, in one pass and bounded memory."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata.attributes import parse_attribute
from gprof.perfdata.compressed import Inflater
from gprof.perfdata.cursor import Cursor
from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.features import Feature
from gprof.perfdata.header import Section
from gprof.perfdata.records import Frames, RecordType, Words, frame, head_words
from gprof.perfdata.samples import Samples, head_size, id_position
from gprof.perfdata.storage import Storage, open_storage
from gprof.perfdata.tables import Tables

#: Features of files that are kept; those of pipes come by themselves.
_READ_FEATURES = frozenset(Feature)


class _Stream:
    """Records that are cut into blocks at any place: those of the file, or those inside zstd."""

    def __init__(self) -> None:
        self.carry = b""
        self.skip = 0
        self.at = 0  # offset of `carry` in the stream
        self.ended = False
        self.inflater: Inflater | None = None
        self.inflated: _Stream | None = None


class PerfData(Tables):
    """A recording of perf, read from front to back.

    The tables (`events`, `mappings`, `threads`, …) hold what was read so far: of a file, the
    header's part at once; of a pipe, all of it only while `chunks` runs. Damage behind the
    header ends the reading or costs a record, and is told in `problems`.

    Args:
        storage: where the bytes come from; see `open` and `from_file`.

    Attributes:
        pipe: it is a stream of records that describes itself.
        counts: how many records of each type were read, known or not.
        damaged: how many records were too short for what they should hold.
        unattributed: how many samples belong to no known event.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage.header.order)
        self._storage = storage
        self.pipe = storage.header.pipe
        self.counts: Counter[int] = Counter()
        self.damaged = 0
        self.unattributed = 0
        if not self.pipe:
            self._read_file_header()

    @classmethod
    def open(cls, path: str | Path) -> PerfData:
        """The recording at a path: a file, a pipe's output saved to one, or a directory.

        Raises:
            PerfDataError: there is none, or it is no perf.data.
        """
        return cls(open_storage(Path(path)))

    @classmethod
    def from_file(cls, file: BinaryIO) -> PerfData:
        """The recording in an open file, such as a pipe from a running perf.

        Raises:
            PerfDataError: it is no perf.data.
        """
        return cls(Storage(file))

    @property
    def most_samples(self) -> int:
        """More than this a file cannot hold; 0 where that is not known, as of a pipe."""
        if self.pipe or not self.attributes:
            return 0
        return self._storage.size // (8 * min(map(head_size, self.attributes)))

    def chunks(self) -> Iterator[tuple[Samples, ...]]:
        """The samples, block by block, each block's grouped by event; empty where it has none.

        Within a group they are in the order of the file, which is that of time only for one
        processor. May be called once. Of a pipe it waits for what the writer writes.
        """
        yield from self._read_stream(_Stream(), self._storage.blocks())
        for blocks in self._storage.further_blocks():
            yield from self._read_stream(_Stream(), blocks)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The header of a file

    def _read_file_header(self) -> None:
        header = self._storage.header
        entry = header.attribute_size
        if entry < 64 + 16:
            raise PerfDataError(
                f"the entries of the events' table have {entry} bytes, too few for one",
                "The file is damaged; record it again.",
            )
        table = self._storage.section(header.attributes)
        budget = self._storage.size
        for index in range(len(table) // entry):
            cursor = Cursor(table, self.order, index * entry, what="table of events")
            self.attributes.append(parse_attribute(cursor.take(entry - 16), self.order))
            section = Section(*cursor.u64s(2))
            budget -= section.size
            if budget < 0:
                raise PerfDataError(
                    "the ids of the events are more than the file has room for",
                    "The file is damaged; record it again.",
                )
            ids = self._storage.section(section)
            self.ids.add(
                struct.unpack(f"{self.order}{len(ids) // 8}Q", ids[: len(ids) & ~7]), index
            )
        if not header.data.size:
            self.problems.append(
                "perf was killed before it finished the file: facts about the machine are missing"
            )
            return
        if self._storage.cut:
            self.problems.append("the file is cut off")
            return
        self._read_feature_table()

    def _read_feature_table(self) -> None:
        header = self._storage.header
        place = Section(header.data.offset + header.data.size, 16 * len(header.features))
        try:
            cursor = Cursor(self._storage.section(place), self.order, what="table of features")
            budget = self._storage.size
            for number in header.features:
                section = Section(*cursor.u64s(2))
                budget -= section.size
                if number in _READ_FEATURES and budget >= 0:
                    self.add_feature(number, self._storage.section(section))
        except PerfDataError as error:
            self.problems.append(error.problem)

    # Streams of records

    def _read_stream(
        self, stream: _Stream, blocks: Iterator[bytes]
    ) -> Iterator[tuple[Samples, ...]]:
        for block in blocks:
            yield from self._feed(stream, block)
            if stream.ended:
                return
        inner = stream.inflated
        if stream.carry or stream.skip:
            self.problems.append(f"the records end amidst one that begins at byte {stream.at}")
        elif inner is not None and inner.carry:
            self.problems.append("the compressed records end amidst one")

    def _feed(self, stream: _Stream, piece: bytes) -> Iterator[tuple[Samples, ...]]:
        if stream.ended:
            return
        if stream.skip:
            skipped = min(stream.skip, len(piece))
            stream.skip -= skipped
            stream.at += skipped
            piece = piece[skipped:]
        block = stream.carry + piece if stream.carry else piece
        begin, going = 0, True
        while going:
            frames = frame(block, self.order, begin)
            packed = frames.others.pop() if frames.compressed else None
            for at, length in frames.others:
                self._read_record(block, at, length)
            if frames.samples or packed is None:
                yield self._samples(block, frames)
            if packed is not None:
                yield from self._inflate(stream, block, *packed)
            begin, going = frames.end, frames.compressed
        stream.carry = block[begin:]
        stream.at += begin
        stream.skip = frames.skip
        if frames.junk:
            stream.ended = True
            stream.carry = b""
            self.problems.append(f"what follows byte {stream.at} of the records is none")

    def _read_record(self, block: bytes, at: int, length: int) -> None:
        kind, misc = struct.unpack_from(self.order + "IH", block, at)
        self.counts[kind] += 1
        try:
            self.learn(kind, misc, block[at + 8 : at + length])
        except PerfDataError:
            self.damaged += 1

    def _inflate(
        self, stream: _Stream, block: bytes, at: int, length: int
    ) -> Iterator[tuple[Samples, ...]]:
        kind = struct.unpack_from(self.order + "I", block, at)[0]
        self.counts[kind] += 1
        body = block[at + 8 : at + length]
        if stream.inflater is None or stream.inflated is None:
            stream.inflater, stream.inflated = Inflater(), _Stream()
        if kind == RecordType.COMPRESSED2:
            size = struct.unpack_from(self.order + "Q", body)[0]
            body = body[8 : 8 + size]
        try:
            for piece in stream.inflater.inflate(body):
                yield from self._feed(stream.inflated, piece)
        except PerfDataError as error:
            if not stream.inflated.ended:
                self.problems.append(error.problem)
            stream.inflated.ended = True

    # Samples

    def _samples(self, block: bytes, frames: Frames) -> tuple[Samples, ...]:
        count = frames.sample_count
        if not count:
            return ()
        self.counts[RecordType.SAMPLE] += count
        if not self.attributes:
            self.unattributed += count
            return ()
        width = max(head_size(attribute) for attribute in self.attributes)
        words = head_words(block, frames, width, self.order)
        offsets = frames.sample_offsets()
        events = self._events_of(words)
        found = []
        for event in self._distinct(events):
            if event < 0:
                self.unattributed += int((events < 0).sum())
                continue
            attribute = self.attributes[event]
            samples = Samples(event, attribute, words, offsets, block, self.order)
            if len(self.attributes) > 1:
                mask = events == event
                samples = samples if mask.all() else samples.select(mask)
            short = samples.size < 8 * head_size(attribute)
            if short.any():
                self.damaged += int(short.sum())
                samples = samples.select(~short)
            found.append(samples)
        return tuple(found)

    def _events_of(self, words: Words) -> NDArray[np.int32]:
        """The event of each sample, -1 where it is unknown.

        With several events, perf sees to it that all have their id at one place; where they have
        not, an event claims the samples that hold one of its ids at its own place.
        """
        events = np.zeros(len(words), np.int32)
        if len(self.attributes) == 1:
            return events
        places: dict[int, list[int]] = {}
        for event, attribute in enumerate(self.attributes):
            place = id_position(attribute)
            if place is not None:
                places.setdefault(place, []).append(event)
        if len(places) == 1:
            return self.ids.events(words[:, next(iter(places))])
        for place, claiming in places.items():
            claimed = self.ids.events(words[:, place])
            mine = np.isin(claimed, claiming)
            events[mine] = claimed[mine]
        return events

    @staticmethod
    def _distinct(events: NDArray[np.int32]) -> list[int]:
        first = int(events[0])
        if (events == first).all():
            return [first]
        return [int(event) for event in np.unique(events)]
