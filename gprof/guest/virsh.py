"""libvirt's own shell, kept running: one process for as many commands as are asked.

A virsh for each command would take some 20 ms, most of it connecting. Fed through a pipe it
echoes each line behind its prompt, prints what the command says, and prompts again (libvirt 9.0,
tools/vsh.c); that is how answers are told apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence

from gprof.errors import (
    ConnectionRefused,
    PermissionProblem,
    ProtocolError,
    TargetError,
    TargetGone,
)
from gprof.guest.monitor import ANSWER_LIMIT, MOST_BYTES
from symbols.names import printable

#: Of a connection that may write, and one that may not.
_PROMPTS = (b"virsh # ", b"virsh > ")
_RECEIVE = 1 << 18
_REFUSED = re.compile(
    r"permission denied|access denied|authentication|not authori|read.only access", re.IGNORECASE
)
_UNREACHABLE = re.compile(
    r"failed to connect|no valid connection|connection refused|not connected", re.IGNORECASE
)
_ENDED = re.compile(
    r"domain is not running|no domain with matching|end of file from|closed the monitor"
    r"|(?:read from|write to) monitor",
    re.IGNORECASE,
)

#: virsh speaks English, draws nothing, and leaves its file of past commands alone: where it
#: cannot make a directory it writes none.
_ENVIRONMENT = {
    "LC_ALL": "C",
    "TERM": "dumb",
    "INPUTRC": "/dev/null",
    "XDG_CACHE_HOME": "/dev/null",
}


class VirshRefused(TargetError):
    """virsh says no, and it is none of the reasons that have an error of their own."""


class Virsh:
    """A virsh that waits for commands; the connection is the one that virsh itself would take.

    Raises:
        TargetError: virsh is not installed.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._process = start_virsh(["virsh", "-q"])
        assert self._process.stdout is not None
        self._poll = select.poll()
        self._poll.register(self._process.stdout, select.POLLIN)
        try:
            self._until_prompt()
        except BaseException:
            self.close()
            raise

    def run(self, words: Sequence[str]) -> str:
        """What a command prints.

        Args:
            words: the command and its arguments.

        Raises:
            ConnectionRefused: libvirt is not there.
            PermissionProblem: it refuses us.
            TargetGone: the domain, libvirt or virsh ended.
            VirshRefused: anything else that virsh complains of.
            ProtocolError: no answer came in time.
        """
        line = " ".join(map(quoted, words)) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except (OSError, ValueError):
            raise _gone() from None
        # The echo comes first, wrapped by carriage returns alone.
        _, _, said = self._until_prompt().partition(b"\n")
        text = said.decode("utf-8", "replace")
        if text.startswith("error: "):
            raise _problem(text)
        return text

    def _until_prompt(self) -> bytes:
        deadline = time.monotonic() + ANSWER_LIMIT
        assert self._process.stdout is not None
        while True:
            for prompt in _PROMPTS:
                if self._buffer == prompt or self._buffer.endswith(b"\n" + prompt):
                    said, self._buffer = self._buffer.removesuffix(prompt), b""
                    return said
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                self.close()  # what it says later would be taken for the answer to another command
                raise ProtocolError(
                    f"libvirt did not answer within {ANSWER_LIMIT:g} s",
                    "It may be waiting for QEMU, or for another job of this domain.",
                )
            data = os.read(self._process.stdout.fileno(), _RECEIVE)
            if not data:
                said, self._buffer = self._buffer, b""
                raise _problem(said.decode("utf-8", "replace")) if said else _gone()
            self._buffer += data
            if len(self._buffer) > MOST_BYTES:
                self.close()
                raise ProtocolError(f"libvirt answers with more than {MOST_BYTES} bytes")

    def kill(self) -> None:
        """End it while another thread may be waiting for an answer, which then gets none."""
        kill_virsh(self._process)

    def close(self) -> None:
        """End it and let go of its pipes, which nobody else may be using. May be called again."""
        end_virsh(self._process)


def start_virsh(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start it with pipes, away from our terminal: no Ctrl-C reaches it, and it asks nobody.

    Raises:
        TargetError: it is not installed.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,
            bufsize=0,
        )
    except FileNotFoundError:
        raise TargetError(
            "virsh is not installed, and libvirt is asked through it",
            "Install it: apt-get install libvirt-clients (Debian, Ubuntu), "
            "dnf install libvirt-client (Fedora).",
        ) from None


def end_virsh(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, and let go of its pipes. May be called again."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    kill_virsh(process)


def kill_virsh(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, also when it hangs. May be called again."""
    if process.returncode is None:
        # The group carries the id of its leader, which is not reused before wait().
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def quoted(word: str) -> str:
    """A word as virsh reads it: within double quotes, where a backslash protects (vsh.c)."""
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _problem(said: str) -> TargetError | PermissionProblem:
    lines = [line.removeprefix("error: ").strip() for line in said.splitlines() if line.strip()]
    reason = "; ".join(printable(line) for line in lines[:3])
    if _REFUSED.search(said):
        return PermissionProblem(
            f"libvirt refuses: {reason}",
            "Run gprof with sudo, or as a user who may manage guests (on most systems the group "
            "libvirt).",
        )
    if _UNREACHABLE.search(said):
        return ConnectionRefused(
            f"libvirt cannot be reached: {reason}",
            "Start libvirtd (or virtqemud), or choose another connection with "
            "LIBVIRT_DEFAULT_URI, such as qemu:///system or qemu:///session.",
        )
    if _ENDED.search(said):
        return TargetGone(
            f"the domain ended: {reason}",
            "`virsh list --all` shows its state; what was recorded until now is complete.",
        )
    return VirshRefused(f"libvirt refuses: {reason}", "`virsh list --all` names the domains.")


def _gone() -> TargetGone:
    return TargetGone(
        "the connection to libvirt ended",
        "Check whether libvirtd still runs; what was recorded until now is complete.",
    )
