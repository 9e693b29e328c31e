"""QEMU's monitor as the rest of gprof uses it, whoever passes the commands on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeAlias

from gprof.errors import ProtocolError
from symbols.names import printable

#: Seconds a command may take. QEMU answers within a millisecond, unless it is starved itself.
ANSWER_LIMIT = 10.0
#: The longest answer that is taken in: the registers of 1024 vcpus are 5 MB.
MOST_BYTES = 16 << 20

#: What JSON makes of one line.
Answer: TypeAlias = dict[str, Any]


class CommandRefused(ProtocolError):
    """QEMU knows no such command, or cannot carry it out now."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that QEMU reports unasked.

    Attributes:
        name: `STOP`, `RESUME`, `RESET`, …
        time_us: microseconds since the epoch by the clock of QEMU's host; -1 where it could not
            read it.
        data: what belongs to it.
    """

    name: str
    time_us: int
    data: Answer


class Monitor(ABC):
    """Commands to one QEMU and its events; may be used from any thread.

    Attributes:
        name: what it is reached by, as the user gave it.
        version: of QEMU, such as (7, 2, 22).
        remark: what a person must know of this way to the monitor; may be empty.
    """

    name: str
    version: tuple[int, ...]
    remark: str = ""

    @abstractmethod
    def execute(self, command: str, **arguments: Any) -> Any:
        """What a command returns; events that come before it are kept for `events`.

        Args:
            command: its name.
            arguments: with `_` for the `-` in their names.

        Raises:
            CommandRefused: QEMU says no; the problem has its reason.
            TargetGone: QEMU ended.
            ProtocolError: it fell silent, or answers what it never should.
        """

    def human_monitor(self, command: str, cpu_index: int | None = None) -> str:
        """What the monitor for people prints, with line feeds alone at the ends of lines.

        A command that it does not know is answered by a sentence, not by an error.

        Args:
            command: as typed there.
            cpu_index: the vcpu that it is about; the monitor's own where None.

        Raises:
            TargetError: see `execute`.
        """
        extra = {} if cpu_index is None else {"cpu_index": cpu_index}
        text = self.execute("human-monitor-command", command_line=command, **extra)
        if not isinstance(text, str):
            raise ProtocolError(f"the monitor answers {command!r} with something else than text")
        return text.replace("\r\n", "\n")

    @abstractmethod
    def events(self, wait_s: float = 0.0) -> list[Event]:
        """What has been reported since the last call.

        Args:
            wait_s: seconds to wait where there is none yet.

        Raises:
            TargetGone: QEMU ended, and all that it reported before has been fetched.
        """

    @abstractmethod
    def peer(self) -> tuple[int, int] | None:
        """Process id and user of QEMU; None where it is no process of this host."""

    @abstractmethod
    def close(self) -> None:
        """Leave the monitor to others. May be called again."""


def question(command: str, arguments: dict[str, Any]) -> Answer:
    """A command as the protocol wants it; see `Monitor.execute`."""
    asked: Answer = {"execute": command}
    if arguments:
        asked["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
    return asked


def returned(answer: Answer, command: str) -> Any:
    """What an answer says.

    Raises:
        CommandRefused: that QEMU does not carry out the command.
    """
    if "return" in answer:
        return answer["return"]
    error = answer.get("error")
    reason = error.get("desc") if isinstance(error, dict) else None
    raise CommandRefused(f"QEMU refuses {command}: {printable(str(reason or 'no reason'))}")
