"""QEMU's monitor as tests and benchmarks need it: commands, and the events between the answers."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from tests.waiting import Deadline, wait_until


@dataclass(frozen=True, slots=True)
class Event:
    """Something that QEMU reports unasked.

    Attributes:
        name: `STOP`, `RESUME`, `RESET`, …
        time_us: microseconds since the epoch, by QEMU's clock.
    """

    name: str
    time_us: int


class Monitor:
    """The one client of a QMP socket; a context manager.

    Format: docs/interop/qmp-spec.rst of QEMU 7.2.

    Args:
        address: path of the socket.
        patience: seconds to wait for an answer, an event or a state; to write a guest's memory
            into a file takes long.

    Attributes:
        events: all that were seen, oldest first.
    """

    def __init__(self, address: str, patience: float = 300.0) -> None:
        self.events: list[Event] = []
        self._patience = patience
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(patience)
        self._socket.connect(address)
        self._lines = self._socket.makefile("rb")
        self._asked = 0
        self.execute("qmp_capabilities")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """What a command returns. Events that came before its answer are seen afterwards.

        Raises:
            OSError: QEMU refuses, or is gone.
        """
        self._asked += 1
        asked = {"execute": command, "arguments": arguments, "id": self._asked}
        self._socket.sendall(json.dumps(asked).encode() + b"\n")
        while (answer := self._next()).get("id") != self._asked:
            pass
        if "error" in answer:
            raise OSError(f"QEMU refuses {command}: {answer['error']}")
        return answer["return"]

    def is_running(self) -> bool:
        """Whether the vcpus run now."""
        return bool(self.execute("query-status")["running"])

    def human(self, command: str) -> str:
        """What the monitor for people says to a command."""
        return str(self.execute("human-monitor-command", **{"command-line": command}))

    def await_status(self, *names: str) -> None:
        """Wait until the machine is in one of some states."""
        said = [""]

        def reached() -> bool:
            said[0] = self.execute("query-status")["status"]
            return said[0] in names

        wait_until(
            reached,
            f"a machine that is {' or '.join(names)}",
            seen=lambda: f"It is {said[0]}; {self._described()}",
            patience=self._patience,
        )

    def await_event(self, name: str, count: int = 1, *, since: int | None = None) -> None:
        """Wait until an event was reported so many times.

        Args:
            name: of the event.
            count: how many times.
            since: how many events had been seen when counting begins; those seen by now if None.

        Raises:
            OSError: QEMU is gone, or reports nothing at all.
        """
        seen = len(self.events) if since is None else since
        deadline = Deadline(f"{count} events {name}", self._described, self._patience)
        while sum(event.name == name for event in self.events[seen:]) < count:
            deadline.check()
            self._next()

    def _described(self) -> str:
        last = [event.name for event in self.events[-20:]]
        return f"of {len(self.events)} events the last ones are {last}"

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise OSError("the monitor hung up")
        said: dict[str, Any] = json.loads(line)
        if "event" in said:
            at = said["timestamp"]
            self.events.append(Event(said["event"], at["seconds"] * 1_000_000 + at["microseconds"]))
        return said
