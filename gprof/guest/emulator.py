"""A QEMU process of our own: started for a while, reachable by sockets, gone for sure after."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from gprof.errors import TargetError
from symbols.names import printable

#: sun_path of a unix socket has 108 bytes (linux/un.h), the final zero included.
LONGEST_SOCKET_PATH = 107

# QEMU does not end by itself when its parent does. So a shell holds the reading end of a pipe of
# ours: however we end, the pipe closes, and the shell removes the directory, its first argument,
# and kills its process group, QEMU included. The other way round, the group ends when QEMU does.
_GUARD = 'where=$1; shift; ("$@" </dev/null; kill -9 0) & read -r _; rm -rf "$where"; kill -9 0'


def find_qemu(program: str = "qemu-system-x86_64") -> str | None:
    """The path of a QEMU system emulator, or None where it is not installed."""
    return shutil.which(program)


class Emulator:
    """QEMU with a gdbstub and a QMP monitor on unix sockets in a private directory.

    A context manager: inside, QEMU runs and both sockets listen; afterwards the process and the
    directory are gone, also when this process is killed.

    Args:
        arguments: QEMU's options without those for gdbstub, monitor and display.
        program: the name of the emulator.
        patience: seconds that QEMU may take until it answers.

    Attributes:
        directory: a place for further sockets and files; exists inside the context only.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        program: str = "qemu-system-x86_64",
        patience: float = 60.0,
    ) -> None:
        self.directory = Path()
        self._arguments = tuple(arguments)
        self._program = program
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def gdb_address(self) -> str:
        """The path of the gdbstub's socket."""
        return str(self.directory / "gdb")

    @property
    def qmp_address(self) -> str:
        """The path of the monitor's socket."""
        return str(self.directory / "qmp")

    def __enter__(self) -> Self:
        qemu = find_qemu(self._program)
        if qemu is None:
            raise TargetError(
                f"{self._program} is not installed",
                "Install it: apt-get install qemu-system-x86 (Debian, Ubuntu), "
                "dnf install qemu-system-x86-core (Fedora).",
            )
        self.directory = _private_directory()
        try:
            self._start(qemu)
            self._await_monitor()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_running(self) -> bool:
        """Whether QEMU has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """Stop the guest until `resume`. The monitor must be free: it serves one client.

        Raises:
            TargetError: QEMU does not answer.
        """
        self._order("stop")

    def resume(self) -> None:
        """Let the guest run on, whoever stopped it.

        Raises:
            TargetError: QEMU does not answer.
        """
        self._order("cont")

    def _order(self, command: str) -> None:
        try:
            self._converse(command, patience=self._patience)
        except OSError as error:
            raise TargetError(f"QEMU does not carry out {command}: {error}") from error

    def extra_arguments(self) -> Sequence[str]:
        """Options that name files in `directory`; asked for once it exists."""
        return ()

    def close(self) -> None:
        """End QEMU and remove the directory. May be called again."""
        process, self._process = self._process, None
        if process is not None:
            # The group carries the id of its leader, which is not reused before wait().
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if self.directory != Path():
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = Path()

    def _start(self, qemu: str) -> None:
        command = [
            qemu, "-nodefaults", "-no-user-config", "-display", "none",
            "-gdb", f"unix:{_escaped(self.gdb_address)},server=on,wait=off",
            "-qmp", f"unix:{_escaped(self.qmp_address)},server=on,wait=off",
            *self._arguments, *self.extra_arguments(),
        ]  # fmt: skip
        with (self.directory / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", str(self.directory), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # also keeps a Ctrl-C meant for us from QEMU
            )

    def _await_monitor(self) -> None:
        """Wait for the monitor to carry out a command.

        The greeting comes from a thread of the monitor's own, but commands are carried out by
        QEMU's main loop, which runs once everything is set up: the gdbstub listens by then.
        Connecting to that one instead would stop the guest.
        """
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            if not self.is_running():
                raise TargetError("QEMU ended at once" + self._last_words())
            with contextlib.suppress(OSError):
                self._converse("query-status", patience=max(0.1, deadline - time.monotonic()))
                return
            time.sleep(0.01)  # not there yet; a new socket announces itself to nobody
        raise TargetError(
            f"QEMU did not answer within {self._patience:.0f} s" + self._last_words(),
            "The machine may be too busy to start a guest; try again.",
        )

    def _converse(self, command: str, *, patience: float) -> None:
        """Connect to the monitor, have one command carried out, and leave.

        Raises:
            OSError: the monitor is not there, falls silent, or refuses.
        """
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(self.qmp_address)
            monitor.settimeout(patience)
            for each in ("qmp_capabilities", command):
                monitor.sendall(json.dumps({"execute": each, "id": each}).encode() + b"\n")
            with monitor.makefile("rb") as answers:
                for line in answers:
                    answer = json.loads(line)
                    if answer.get("id") == command:
                        if "return" in answer:
                            return
                        raise OSError(f"QEMU refuses {command}")
        raise OSError("the monitor hung up")

    def _last_words(self) -> str:
        try:
            said = (self.directory / "stderr").read_bytes()[-2000:]
        except OSError:
            return ""
        lines = [printable(line) for line in said.splitlines() if line.strip()]
        return ": " + "; ".join(lines[-3:]) if lines else ""


def _private_directory() -> Path:
    """A new directory that only we may enter, short enough for sockets inside."""
    path = tempfile.mkdtemp(prefix="gprof-")
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH - 16:
        Path(path).rmdir()
        path = tempfile.mkdtemp(prefix="gprof-", dir="/tmp")
    return Path(path)


def _escaped(path: str) -> str:
    """A value in an option of QEMU, where a comma is written twice (QEMU: util/qemu-option.c)."""
    return path.replace(",", ",,")
