"""QEMU's monitor as tests and benchmarks need it: commands, and the events between the answers."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass
from typing import Any, Self


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
        patience: seconds to wait for an answer or an event.

    Attributes:
        events: all that were seen, oldest first.
    """

    def __init__(self, address: str, patience: float = 300.0) -> None:
        self.events: list[Event] = []
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

    def stands(self) -> bool:
        """Whether the vcpus stand, and not just for the moment in which a debugger looks."""
        return not any(self.is_running() for _ in range(20))

    def stop(self) -> None:
        """Stop the vcpus.

        QEMU does nothing for a `stop` that comes while a debugger has them stopped, and the
        debugger, who cannot know, lets them run again. So it is asked until it was heard.
        """
        while not self.stands():
            self.execute("stop")

    def await_status(self, *names: str) -> None:
        """Wait until the machine is in one of some states; pytest's timeout bounds this."""
        while self.execute("query-status")["status"] not in names:
            time.sleep(0.02)

    def await_event(self, name: str, count: int = 1) -> None:
        """Wait until an event was reported so many times from now on.

        Raises:
            OSError: it was not, or QEMU is gone.
        """
        seen = len(self.events)
        while sum(event.name == name for event in self.events[seen:]) < count:
            self._next()

    def _next(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise OSError("the monitor hung up")
        said: dict[str, Any] = json.loads(line)
        if "event" in said:
            at = said["timestamp"]
            self.events.append(Event(said["event"], at["seconds"] * 1_000_000 + at["microseconds"]))
        return said
