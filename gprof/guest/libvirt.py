"""The monitor of a guest that libvirt runs.

libvirt keeps the monitor to itself, and passes commands on for whoever may manage the domain:
`virsh qemu-monitor-command`. It marks the domain as tainted then, `custom-monitor`, in its log and
until the domain is started again. Events come by a second virsh (`qemu-monitor-event`).

libvirt's Python bindings are not needed: they are compiled, and for what is asked here they do
the same as the shell that comes with every libvirt.
"""

from __future__ import annotations

import json
import os
import re
import select
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gprof.errors import ProtocolError, TargetError, TargetGone, UsageError
from gprof.guest.monitor import Event, Monitor, question, returned
from gprof.guest.virsh import Virsh, VirshRefused, end_virsh, start_virsh
from symbols.names import printable

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: `event STOP at 1795421261.253780 for domain 'web1': <null>`; the name may hold anything.
_EVENT = re.compile(
    rb"event (?P<name>[A-Z0-9_]+) at (?P<s>[0-9]{1,12})\.(?P<us>[0-9]{1,6}) for domain .*: "
    rb"(?P<data>\{.*\}|<null>)$",
    re.DOTALL,
)
#: What virsh says of a domain that was there, and is defined nowhere.
_FORGOTTEN = "failed to get domain"
_MOST_EVENTS = 4096
_LONGEST_LINE = 1 << 20
#: Like the one of `Emulator`: however we end, the pipe closes, and virsh is ended. It would stay
#: until its next event otherwise.
_GUARD = '"$@" </dev/null & exec >&- 2>&-; read -r _; kill $!; wait'
_GUARDED = ("/bin/sh", "-c", _GUARD, "sh")

REMARK = (
    "libvirt marks the domain as tainted (custom-monitor) until it is started again, since it is "
    "sampled through its monitor."
)


@dataclass(frozen=True, slots=True)
class Domain:
    """A guest by libvirt's name for it.

    Attributes:
        text: its name, id or uuid, as the user gave it.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text or not self.text.isprintable():
            raise UsageError(
                f"{printable(self.text) or 'nothing'} is no name of a domain",
                "`virsh list` shows those that run.",
            )


class Libvirt(Monitor):
    """Commands and events of a domain, by way of libvirt.

    Args:
        domain: which.

    Raises:
        TargetError: virsh is not installed, libvirt is not there, or has no such domain running.
        PermissionProblem: libvirt does not let us.
    """

    remark = REMARK

    def __init__(self, domain: Domain) -> None:
        self.name = domain.text
        self._turn = threading.RLock()
        self._events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._said = b""
        self._virsh = Virsh()
        try:
            self._uuid = self._find(domain)
            self._listener = start_virsh(
                [*_GUARDED, "virsh", "-q", "qemu-monitor-event", self._uuid, "--loop"]
            )
            try:
                self.version = self._ask_version()
            except BaseException:
                end_virsh(self._listener)
                raise
        except BaseException:
            self._virsh.close()
            raise

    def _find(self, domain: Domain) -> str:
        try:
            uuid = self._virsh.run(["domuuid", domain.text]).strip()
        except VirshRefused as refused:
            names = [one for one in self._virsh.run(["list", "--name"]).splitlines() if one.strip()]
            running = ", ".join(printable(name) for name in names[:20]) or "none"
            raise TargetError(
                f"libvirt has no domain {printable(domain.text)}",
                f"Running: {running}. LIBVIRT_DEFAULT_URI chooses another connection, such as "
                "qemu:///system or qemu:///session.",
            ) from refused
        if not _UUID.fullmatch(uuid):
            raise ProtocolError(f"libvirt names no uuid of the domain {printable(domain.text)}")
        return uuid

    def _ask_version(self) -> tuple[int, ...]:
        try:
            said = self.execute("query-version")
            return tuple(int(said["qemu"][part]) for part in ("major", "minor", "micro"))
        except TargetGone:
            raise TargetError(
                f"the domain {printable(self.name)} does not run",
                "Start it with `virsh start`.",
            ) from None
        except (KeyError, TypeError, ValueError):
            raise ProtocolError("the monitor does not tell the version of its QEMU") from None

    def execute(self, command: str, **arguments: Any) -> Any:
        """See `Monitor.execute`."""
        asked = json.dumps(question(command, arguments))
        try:
            with self._turn:
                said = self._virsh.run(["qemu-monitor-command", self._uuid, asked])
        except VirshRefused as refused:
            if _FORGOTTEN not in refused.problem:
                raise
            raise TargetGone(
                f"the domain {printable(self.name)} ended",
                "What was recorded until now is complete.",
            ) from None
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ProtocolError("libvirt passes on something else than an answer of QEMU")
        return returned(answer, command)

    def events(self, wait_s: float = 0.0) -> list[Event]:
        """See `Monitor.events`; they come a moment later than over a socket."""
        with self._turn:
            deadline = time.monotonic() + wait_s
            while self._receive(max(0.0, deadline - time.monotonic())) or (
                not self._events and time.monotonic() < deadline
            ):
                pass
            found = list(self._events)
            self._events.clear()
        return found

    def _receive(self, wait_s: float) -> bool:
        """Take in what the second virsh has printed; whether there was anything."""
        pipe = self._listener.stdout
        assert pipe is not None
        if pipe.closed or not select.select([pipe], [], [], 0 if self._events else wait_s)[0]:
            return False
        data = os.read(pipe.fileno(), 1 << 16)
        if not data:
            # libvirt has gone, or the domain; the next command tells which.
            pipe.close()
            return False
        *lines, self._said = (self._said + data).split(b"\n")
        self._said = self._said[-_LONGEST_LINE:]
        self._events.extend(event for line in lines if (event := read_event(line)) is not None)
        return True

    def peer(self) -> tuple[int, int] | None:
        """See `Monitor.peer`: the process of the vcpus' threads, if it has the domain's uuid."""
        try:
            vcpus = self.execute("query-cpus-fast")
            thread = int(vcpus[0]["thread-id"])
            status = Path(f"/proc/{thread}/status").read_text("utf-8", "replace")
            found = re.search(r"^Tgid:\s+([0-9]+)$", status, re.MULTILINE)
            process = Path(f"/proc/{found[1]}") if found else Path("/nonexistent")
            words = (process / "cmdline").read_bytes().split(b"\0")
            user = process.stat().st_uid
        except (TargetError, OSError, LookupError, TypeError, ValueError):
            return None
        # libvirt may be on another host: then a process of that number is somebody else.
        return (int(process.name), user) if self._uuid.encode() in words else None

    def close(self) -> None:
        """See `Monitor.close`."""
        self._virsh.kill()
        with self._turn:  # who waits for an answer of it has left now
            self._virsh.close()
            end_virsh(self._listener)


def read_event(line: bytes) -> Event | None:
    """An event as virsh prints it; None where the line is none."""
    found = _EVENT.match(line)
    if found is None:
        return None
    try:
        data = json.loads(found["data"]) if found["data"] != b"<null>" else {}
    except (ValueError, RecursionError):
        data = {}
    micro = int(found["us"].ljust(6, b"0"))
    return Event(found["name"].decode(), int(found["s"]) * 1_000_000 + micro, data)
