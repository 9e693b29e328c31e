"""A gdbstub opened through the monitor when something needs it, and closed as it was found."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gprof.errors import StubBusy, TargetError, UsageError
from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.monitor import Monitor
from symbols.memory import MemoryFault
from symbols.names import printable

#: What `query-chardev` says of a socket that waits for somebody:
#: `disconnected:unix:/run/gdb,server=on`, `disconnected:tcp:0.0.0.0:1234,server=on`.
_WAITING = re.compile(r"disconnected:(?:unix:(?P<path>[^,]+)|tcp:(?P<tcp>[^,]+))(?:,|$)")

#: A debugger that has just left is seen for a moment longer: how often, and how many seconds
#: apart, QEMU is asked before that is taken for one that stays.
_LOOKS, _BETWEEN_LOOKS_S = 10, 0.1


class LazyStub:
    """A machine behind a stub that need not be there yet.

    Connecting stops the guest for about a millisecond, and so does each read; nothing happens
    before the first.

    Args:
        monitor: opens the stub.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._machine: Machine | None = None
        self._failure: TargetError | None = None
        self._directory: Path | None = None
        self._turn = threading.RLock()
        self._closed = self._lent = False

    def lend(self, machine: Machine) -> None:
        """Use this machine, whose owner closes it, instead of opening a stub."""
        self._machine, self._lent = machine, True

    def take_back(self) -> None:
        """The machine that was lent is closed: open a stub when one is needed again."""
        with self._turn:
            if self._lent:
                self._machine, self._lent = None, False

    @property
    def opened(self) -> bool:
        """Whether something has needed it."""
        return self._machine is not None

    def machine(self) -> Machine:
        """The machine; the stub is opened now if it is not yet.

        Raises:
            TargetError: it cannot be opened, or somebody else uses it. Asked again, it is said
                again, and nothing is tried.
        """
        with self._turn:
            if self._failure is not None:
                raise self._failure
            if self._machine is None:
                try:
                    self._machine = self._open()
                except TargetError as error:
                    self._failure = error
                    raise
            return self._machine

    def read(self, address: int, size: int) -> bytes:
        """The kernel's virtual memory; see `symbols.memory.Memory`."""
        try:
            memory = self.machine().memory
        except TargetError:
            raise MemoryFault(address, size) from None
        return memory.read(address, size)

    def readable(self, addresses: Sequence[int]) -> list[bool]:
        """Which addresses a byte can be read of; see `symbols.slide.Probing`."""
        try:
            return self.machine().memory.readable(addresses)
        except TargetError:
            return [False] * len(addresses)

    def forget(self) -> None:
        """Drop what was kept, as after a reset."""
        if self._machine is not None:
            self._machine.memory.forget()

    def _open(self) -> Machine:
        if self._closed:
            raise TargetError("the guest has been let go")
        status = self._monitor.execute("query-status")
        running = isinstance(status, dict) and status.get("running") is True
        stub = Stub(self._address(), running=running)
        try:
            return Machine(stub)
        except BaseException:
            stub.close()
            raise

    def _address(self) -> Address:
        """Where the stub listens: the one that is there, or one that is opened now."""
        known = self._known_stub()
        for _ in range(_LOOKS):
            if known is None or _WAITING.match(known):
                break
            time.sleep(_BETWEEN_LOOKS_S)
            known = self._known_stub()
        if known is not None:
            if (waiting := _WAITING.match(known)) is None:
                raise StubBusy(
                    "somebody else is connected to the gdbstub of this QEMU",
                    "Detach that debugger; without the stub, sampling goes on by the monitor.",
                )
            with contextlib.suppress(UsageError):
                return Address.parse(waiting["path"] or waiting["tcp"])
        if self._monitor.peer() is None:
            raise TargetError(
                "this QEMU has no gdbstub, and none can be opened for a monitor that is not a "
                "unix socket",
                "Give QEMU a stub (`-gdb unix:/path/to/socket,server=on,wait=off`).",
            )
        return self._listen()

    def _known_stub(self) -> str | None:
        """What QEMU says of the connection to its stub; None where it has none."""
        for device in self._monitor.execute("query-chardev"):
            if isinstance(device, dict) and device.get("label") == "gdb":
                return str(device.get("filename", ""))
        return None

    def _listen(self) -> Address:
        self._directory = Path(tempfile.mkdtemp(prefix="gprof-gdb-"))
        peer = self._monitor.peer()
        if peer is not None and os.geteuid() == 0:
            os.chown(self._directory, peer[1], -1)  # QEMU, not we, makes the socket
        path = self._directory / "gdb"
        said = self._monitor.human_monitor(f"gdbserver unix:{path},server=on,wait=off")
        if not path.exists():
            self._remove()
            raise TargetError(
                f"QEMU cannot open a gdbstub: {printable(said.strip())}",
                "Run gprof as the user that runs QEMU, or start QEMU with "
                "`-gdb unix:/path/to/socket,server=on,wait=off`.",
            )
        return Address(str(path), path=str(path))

    def _remove(self) -> None:
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def close(self) -> None:
        """Detach, and close the stub if it was opened for us. May be called again."""
        with self._turn:
            self._closed = True
            machine, self._machine = self._machine, None
            if machine is not None and not self._lent:
                machine.close()
            if self._directory is not None:
                with contextlib.suppress(TargetError):  # QEMU has gone, and the stub with it
                    self._monitor.human_monitor("gdbserver none")
                self._remove()
