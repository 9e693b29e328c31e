"""A pipe whose reader can be sent home from another thread."""

from __future__ import annotations

import os
import select
import threading
from io import BufferedReader
from typing import BinaryIO


class InterruptiblePipe:
    """The reading end of a pipe, as much of a binary file as a reader of streams needs.

    Args:
        descriptor: of the pipe; it stays the caller's.
        begun: what was read from it before.
    """

    def __init__(self, descriptor: int, begun: bytes = b"") -> None:
        self._descriptor = descriptor
        self._begun = begun
        self._wake_reading, self._wake_writing = os.pipe()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(self._wake_reading, select.POLLIN)
        self._interrupted = False
        self._closed = False
        self._closing = threading.Lock()

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1, /) -> bytes:
        """What is there, at most `size` bytes; nothing at the end or after `interrupt`."""
        if self._begun:
            size = size if size > 0 else len(self._begun)
            given, self._begun = self._begun[:size], self._begun[size:]
            return given
        ready = [] if self._interrupted else self._poll.poll()
        if self._wake_reading in dict(ready) or not ready:
            return b""
        return os.read(self._descriptor, size if size > 0 else 1 << 16)

    read1 = read

    def interrupt(self) -> None:
        """Let a reader that waits see the end. May be called from any thread."""
        with self._closing:
            if not self._interrupted and not self._closed:
                self._interrupted = True
                os.write(self._wake_writing, b"\0")

    def close(self) -> None:
        """Let go of everything but the descriptor."""
        with self._closing:
            if not self._closed:
                self._closed = True
                os.close(self._wake_reading)
                os.close(self._wake_writing)


def pipe_of(file: BinaryIO) -> InterruptiblePipe | None:
    """The pipe behind an open stream; None for a file that can be sought, which never blocks."""
    if file.seekable():
        return None
    # What somebody has looked at already is in the file's buffer, no longer in the pipe.
    begun = file.peek(1) if isinstance(file, BufferedReader) else b""
    return InterruptiblePipe(file.fileno(), begun)
