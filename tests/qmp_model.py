"""A QMP monitor with the manners of QEMU's, for tests that must not depend on a real one.

It greets, wants `qmp_capabilities` first, answers in order, reports events in between, and serves
one client at a time: a second one connects and hears nothing (docs/interop/qmp-spec.rst and
chardev/char-socket.c of QEMU 7.2).
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.socket_model import SocketModel

GREETING = {
    "QMP": {
        "version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"},
        "capabilities": ["oob"],
    }
}

#: One vcpu's block of `info registers -a`, as much of it as is read.
BLOCK = """
CPU#{index}
RAX=0000000000000001 RBX=0000000000000027
RIP={pc:016x} RFL=00000246 [---Z-P-] CPL={cpl} II=0 A20=1 SMM=0 HLT={halted}
CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]
IDT=     fffffe0000000000 00000fff
CR0=80050033 CR2=0000000000000000 CR3=0000000000202000 CR4=00000020
EFER=0000000000000d01
"""


class QmpModel(SocketModel):
    """Serves one client after another on a unix socket.

    Attributes:
        pcs: of each vcpu.
        halted: the vcpus that wait for an interrupt.
        status: of the machine.
        migration: its status, or empty.
        reports_migration: whether events tell of it.
        commands: answers by name of a command, put there by a test; what is callable is called
            with the arguments.
        human: answers by command line of the monitor for people.
        ending: it answers no more, and hangs up where it is asked something.
        seen: the name of every command, in order; of `human-monitor-command`, its command line.
    """

    def __init__(self, path: Path, *, vcpus: int = 2, greeting: bytes | None = None) -> None:
        super().__init__(path)
        self.pcs = [0xFFFF_FFFF_8100_0000 + i * 0x1000 for i in range(vcpus)]
        self.halted: set[int] = set()
        self.status = "running"
        self.migration = ""
        self.reports_migration = False
        self.ending = False
        self.commands: dict[str, Any] = {}
        self.human: dict[str, str | Callable[[], str]] = {}
        self.seen: list[str] = []
        self._greeting = json.dumps(GREETING).encode() + b"\r\n" if greeting is None else greeting
        self.serve()

    def report(self, name: str, time_us: int = 0, **data: Any) -> None:
        """Send an event."""
        at = {"seconds": time_us // 1_000_000, "microseconds": time_us % 1_000_000}
        self.send({"event": name, "timestamp": at, "data": data})

    def stop(self, status: str = "paused", time_us: int = 0) -> None:
        """What the command `stop` does."""
        with self._lock:
            self.status = status
            self.report("STOP", time_us)

    def resume(self, time_us: int = 0) -> None:
        """What the command `cont` does."""
        with self._lock:
            self.status = "running"
            self.report("RESUME", time_us)

    def shut_down(self) -> None:
        """What happens where the guest shuts down: QEMU ends."""
        with self._lock:
            self.report("SHUTDOWN", guest=True)
            self.ending = True

    def send(self, said: object) -> None:
        """Send anything; bytes go out as they are."""
        data = said if isinstance(said, bytes) else json.dumps(said).encode() + b"\r\n"
        with self._lock:
            self._send(data)

    def _greet(self) -> None:
        self.send(self._greeting)

    def _hear(self, client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            for line in lines:
                with self._lock:
                    self._answer(line)

    def _leave(self) -> None:
        """Nothing is kept of a client."""

    def _answer(self, line: bytes) -> None:
        try:
            asked = json.loads(line)
        except ValueError:
            self.send({"error": {"class": "GenericError", "desc": "JSON parse error"}})
            return
        name, arguments = asked["execute"], asked.get("arguments", {})
        self.seen.append(arguments.get("command-line", name))
        if self.ending:
            self._hang_up()
            return
        try:
            self.send({"return": self._result(name, arguments), "id": asked["id"]})
        except LookupError:
            desc = f"The command {name} has not been found"
            error = {"class": "CommandNotFound", "desc": desc}
            self.send({"error": error, "id": asked["id"]})

    def _result(self, name: str, arguments: dict[str, Any]) -> Any:
        if name in self.commands:
            result = self.commands[name]
            return result(arguments) if callable(result) else result
        if name == "migrate-set-capabilities":
            (wanted,) = arguments["capabilities"]
            self.reports_migration = wanted["state"]
            return {}
        if name == "human-monitor-command":
            return self._human(arguments["command-line"])
        return {
            "qmp_capabilities": {},
            "query-status": {"status": self.status, "running": self.status == "running"},
            "query-migrate": {"status": self.migration} if self.migration else {},
            "query-migrate-capabilities": [
                {"capability": "events", "state": self.reports_migration}
            ],
            "query-target": {"arch": "x86_64"},
            "query-kvm": {"enabled": False, "present": True},
            "query-name": {"name": "model"},
            "query-chardev": [],
            "query-cpus-fast": [
                {"cpu-index": i, "target": "x86_64", "thread-id": 1000 + i}
                for i in range(len(self.pcs))
            ],
        }[name]

    def _human(self, command: str) -> str:
        if command in self.human:
            said = self.human[command]
            return (said if isinstance(said, str) else said()).replace("\n", "\r\n")
        if command == "info registers -a":
            return "".join(
                BLOCK.format(index=i, pc=pc, cpl=0, halted=int(i in self.halted))
                for i, pc in enumerate(self.pcs)
            ).replace("\n", "\r\n")
        return f"unknown command: '{command}'\r\n"
