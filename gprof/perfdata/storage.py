"""Where the bytes of a perf.data come from: a file, a directory of files, or a stream."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gprof.perfdata.errors import PerfDataError
from gprof.perfdata.header import FILE_SIZE, PIPE_SIZE, Header, Section, parse_header

#: Bytes taken from a file at a time: enough that numpy's calls cost nothing, little to keep.
_BLOCK = 1 << 21
#: Bytes asked of a stream at a time; what has come so far is given out at once.
_STREAM_BLOCK = 1 << 20


class Storage:
    """The bytes of one perf.data.

    Args:
        file: opened for reading, at its beginning. It need not be seekable; a stream that turns
            out to be no pipe recording is copied into a temporary file first, for its tables lie
            behind its records.
        further: the other files of a recording by several threads, records alone.
    """

    def __init__(self, file: BinaryIO, further: tuple[Path, ...] = ()) -> None:
        self._file = file
        self._further = further
        self._size = 0
        head = _exactly(file, PIPE_SIZE)
        if len(head) == PIPE_SIZE and head[8:].strip(b"\0") != b"\x10":
            head += _exactly(file, FILE_SIZE - PIPE_SIZE)
        self.header: Header = parse_header(head)
        if not self.header.pipe:
            if not file.seekable():
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
                self._file.write(head)
                shutil.copyfileobj(file, self._file, _STREAM_BLOCK)
            self._size = self._file.seek(0, 2)

    @property
    def size(self) -> int:
        """Bytes of the file; 0 of a stream."""
        return self._size

    @property
    def cut(self) -> bool:
        """The records should reach further than the file."""
        data = self.header.data
        return not self.header.pipe and data.offset + data.size > self._size

    def section(self, section: Section) -> bytes:
        """The bytes of a part of the file.

        Raises:
            PerfDataError: it reaches beyond the end.
        """
        if section.offset + section.size > self._size:
            raise PerfDataError(
                f"a part of {section.size} bytes at {section.offset} reaches beyond the file's "
                f"{self._size} bytes",
                "The file is damaged or cut off; record it again.",
            )
        self._file.seek(section.offset)
        return self._file.read(section.size)

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the records, block by block; of a stream, as they come."""
        if self.header.pipe:
            # Reading once gives what is there; a plain read would wait until a block is full.
            read = getattr(self._file, "read1", self._file.read)
            while block := read(_STREAM_BLOCK):
                yield block
            return
        data = self.header.data
        end = min(data.offset + data.size, self._size) if data.size else self._size
        if data.offset >= end:
            return
        at = self._file.seek(data.offset)
        while at < end:
            block = self._file.read(min(_BLOCK, end - at))
            if not block:
                return
            at += len(block)
            yield block

    def further_blocks(self) -> Iterator[Iterator[bytes]]:
        """The blocks of each further file."""
        for path in self._further:
            with path.open("rb") as file:
                yield iter(lambda file=file: file.read(_BLOCK), b"")  # type: ignore[misc]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def open_storage(path: Path) -> Storage:
    """The file at a path, or the directory that `perf record --threads` or `--kcore` wrote.

    Raises:
        PerfDataError: there is none, or it is no perf.data.
    """
    further: tuple[Path, ...] = ()
    main = path
    try:
        if path.is_dir():
            main = path / "data"
            numbered = [p for p in path.glob("data.*") if p.suffix[1:].isdecimal()]
            further = tuple(sorted(numbered, key=lambda p: int(p.suffix[1:])))
        file = main.open("rb")
    except OSError as error:
        raise PerfDataError(
            f"{main} cannot be read: {error.strerror}",
            "Give the file that `perf record` or `perf kvm record` wrote.",
        ) from error
    try:
        return Storage(file, further)
    except BaseException:
        file.close()
        raise


def _exactly(file: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, fewer only where the file ends; a raw stream may give a few a time."""
    found = b""
    while len(found) < size:
        more = file.read(size - len(found))
        if not more:
            break
        found += more
    return found
