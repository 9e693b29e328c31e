"""A client of QEMU's monitor: commands and their answers in step, and the events in between.

Format: docs/interop/qmp-spec.rst of QEMU 7.2 and 10.1: one JSON object a line. Why this is our own:
docs/decisions/005-own-monitor-client.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import threading
import time
from collections import deque
from typing import Any

from gprof.errors import NotAStub, ProtocolError, StubBusy, TargetGone
from gprof.guest.address import Address
from gprof.guest.guard import FAREWELL
from gprof.guest.monitor import (
    ANSWER_LIMIT,
    MOST_BYTES,
    Answer,
    Event,
    Monitor,
    question,
    returned,
)

#: Seconds until the greeting; a monitor that serves somebody else never sends one.
GREETING_LIMIT = 5.0
#: Seconds until the answer to a farewell, where it was a stub that we took for a monitor.
FAREWELL_LIMIT = 2.0
#: Events that wait to be fetched; the oldest give way.
_MOST_EVENTS = 4096
_RECEIVE = 1 << 18

HOW_TO_LISTEN = (
    "Start QEMU with `-qmp unix:/path/to/socket,server=on,wait=off`; a libvirt guest gets a "
    "monitor of its own through `<qemu:commandline>` in its definition."
)


class Qmp(Monitor):
    """The one client of a QMP socket; may be used from any thread.

    Args:
        address: where the monitor listens.

    Raises:
        ConnectionRefused, PermissionProblem: see `Address.connect`.
        StubBusy: the monitor serves somebody else.
        NotAStub: what answers is no QMP monitor.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.name = address.text
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._buffer = bytearray()
        self._lines: deque[bytes] = deque()
        self._asked = 0
        self._turn = threading.RLock()
        self._socket = address.open_socket()
        try:
            address.connect(self._socket, what="a QMP monitor", remedy=HOW_TO_LISTEN)
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def _greet(self) -> None:
        try:
            greeting = self._next(time.monotonic() + GREETING_LIMIT)
            version = greeting["QMP"]["version"]["qemu"]
            self.version = tuple(int(version[part]) for part in ("major", "minor", "micro"))
        except _Silence:
            self._apologize()
            raise StubBusy(
                f"the monitor at {self.address.text} does not greet: most likely somebody else is "
                "connected to it, and it serves one client at a time",
                "End the other client, or start QEMU with a second `-qmp` for gprof. A gdbstub is "
                "given with --gdb.",
            ) from None
        except (ProtocolError, TargetGone, KeyError, TypeError, ValueError):
            self._apologize()
            raise NotAStub(
                f"what answers at {self.address.text} is no QMP monitor",
                "Give the address of QEMU's `-qmp` socket; the one of `-monitor` is for people, "
                "a gdbstub is given with --gdb.",
            ) from None
        self.execute("qmp_capabilities")

    def _apologize(self) -> None:
        """Let a guest run whose gdbstub was taken for a monitor: connecting has stopped it.

        Anything else takes these ten bytes for noise.
        """
        with contextlib.suppress(OSError):
            self._socket.sendall(FAREWELL)
            # Closing at once could throw the bytes away.
            if self._poll.poll(FAREWELL_LIMIT * 1000):
                self._socket.recv(_RECEIVE)

    def execute(self, command: str, **arguments: Any) -> Any:
        """See `Monitor.execute`."""
        with self._turn:
            self._asked += 1
            asked = question(command, arguments) | {"id": self._asked}
            # Where nobody takes it any more, its last words are still to be read.
            with contextlib.suppress(OSError):
                self._socket.sendall(json.dumps(asked).encode() + b"\n")
            deadline = time.monotonic() + ANSWER_LIMIT
            try:
                # An answer to an earlier question is one that we no longer wait for.
                while (answer := self._next(deadline)).get("id") != self._asked:
                    pass
            except _Silence:
                raise ProtocolError(
                    f"the monitor at {self.address.text} did not answer within {ANSWER_LIMIT:g} s",
                    "QEMU may be busy, suspended or dead: look at its process.",
                ) from None
        return returned(answer, command)

    def events(self, wait_s: float = 0.0) -> list[Event]:
        """See `Monitor.events`."""
        with self._turn:
            if wait_s and not self._events:
                self._collect(time.monotonic() + wait_s, enough=1)
            self._collect(0.0)
            found = list(self._events)
            self._events.clear()
        return found

    def _collect(self, deadline: float, enough: int = _MOST_EVENTS) -> None:
        """Take in what comes until the deadline, or until there are enough events."""
        try:
            while len(self._events) < enough:
                self._next(deadline)
        except _Silence:
            pass
        except TargetGone:
            if not self._events:
                raise

    def peer(self) -> tuple[int, int] | None:
        """See `Monitor.peer`.

        They are of the process that made the socket (unix(7), SO_PEERCRED): QEMU itself, or
        whoever handed it the socket.
        """
        if self._socket.family != socket.AF_UNIX:
            return None
        raw = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, user, _ = struct.unpack("3i", raw)
        return (pid, user) if pid else None

    def close(self) -> None:
        """See `Monitor.close`."""
        self._socket.close()

    def _next(self, deadline: float) -> Answer:
        """The next thing that QEMU says; events are also put aside.

        Raises:
            _Silence: it says nothing until the deadline.
        """
        while not self._lines:
            left = deadline - time.monotonic()
            try:
                if not self._poll.poll(max(0.0, left) * 1000):
                    raise _Silence
                data = self._socket.recv(_RECEIVE)
            except OSError as error:
                raise self._gone(error) from None
            if not data:
                raise self._gone(None)
            self._take_in(data)
        try:
            said = json.loads(self._lines.popleft())
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ProtocolError(f"the monitor at {self.address.text} sent something else than QMP")
        if isinstance(said.get("event"), str):
            self._events.append(_event(said))
        return said

    def _take_in(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer[:1] not in b"{\r\n":
            raise ProtocolError(f"the monitor at {self.address.text} sent something else than QMP")
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._lines.extend(bytes(line) for line in lines if line.strip())
            self._buffer = bytearray(rest)
        if len(self._buffer) > MOST_BYTES:
            raise ProtocolError(
                f"the monitor at {self.address.text} sent a line of more than {MOST_BYTES} bytes"
            )

    def _gone(self, error: OSError | None) -> TargetGone:
        why = "QEMU closed it" if error is None else os.strerror(error.errno or 0)
        return TargetGone(
            f"the connection to {self.address.text} ended: {why}",
            "Check whether QEMU still runs; what was recorded until now is complete.",
        )


class _Silence(Exception):
    """Nothing came in time."""


def _event(said: Answer) -> Event:
    at, data = said.get("timestamp"), said.get("data")
    try:
        # What is no mapping is a TypeError below.
        time_us = int(at["seconds"]) * 1_000_000 + int(at["microseconds"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError, OverflowError):
        time_us = -1
    return Event(str(said["event"]), time_us, data if isinstance(data, dict) else {})
