"""Where a stub or a monitor listens: `host:port`, or the path of a unix socket."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from gprof.errors import ConnectionRefused, PermissionProblem, TargetError, UsageError

HOW_TO_LISTEN = (
    "Start QEMU with `-s` (TCP port 1234) or `-gdb unix:/path/to/socket,server=on,wait=off`; in a "
    "QEMU that runs already, type `gdbserver unix:/path/to/socket,server=on,wait=off` or "
    "`gdbserver tcp:127.0.0.1:1234` in its monitor."
)


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a connection.

    Attributes:
        text: as the user gave it.
        path: of the unix socket; empty for TCP.
        host: empty for a unix socket.
        port: 0 for a unix socket.
    """

    text: str
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`, `[v6]:port`, `:port`, `tcp:host:port`, `unix:path` or a path.

        Raises:
            UsageError: it is none of these.
        """
        rest = text.removeprefix("tcp:")
        if text.startswith("unix:") or "/" in text or ":" not in rest:
            path = text.removeprefix("unix:").split(",", 1)[0]
            if path.isdigit():
                return cls(text, host="localhost", port=_port(path, text))
            if not path:
                raise UsageError("the address is empty", "Give host:port or the path of a socket.")
            return cls(text, path=path)
        host, _, port = rest.rpartition(":")
        return cls(text, host=host.strip("[]") or "localhost", port=_port(port, text))

    def open_socket(self) -> socket.socket:
        """A socket of the right family, not yet connected."""
        if self.path:
            return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(
                f"the host {self.host} of {self.text} is not known: {error.strerror}",
                "Check its spelling, or give an IP address.",
            ) from None
        # QEMU's `-s` listens on every address, so IPv4 before IPv6 finds it on any host.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        connection = socket.socket(*found[0][:3])
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def connect(
        self, connection: socket.socket, *, what: str = "a gdbstub", remedy: str = HOW_TO_LISTEN
    ) -> None:
        """Connect a socket that `open_socket` made.

        Args:
            connection: the socket.
            what: is expected to listen there.
            remedy: what to do where it does not.

        Raises:
            ConnectionRefused: nothing listens there.
            PermissionProblem: the socket's rights refuse us.
            TargetError: any other failure, named.
        """
        try:
            connection.connect(self.path or (self.host, self.port))
        except (ConnectionRefusedError, FileNotFoundError) as error:
            why = "nothing accepts connections"
            if isinstance(error, FileNotFoundError):
                why = "there is no socket"
            elif self.path and not Path(self.path).is_socket():
                why = "that is no socket"
            raise ConnectionRefused(
                f"cannot connect to {what} at {self.text}: {why}", remedy
            ) from None
        except PermissionError:
            raise PermissionProblem(
                f"the socket {self.text} may not be opened by this user",
                "Run gprof as the user that runs QEMU, or with sudo and its full path.",
            ) from None
        except OSError as error:
            raise TargetError(
                f"the connection to {self.text} failed: {error.strerror or error}", remedy
            ) from None


def _port(digits: str, text: str) -> int:
    if not digits.isdecimal() or not 0 < int(digits) < 65536:
        raise UsageError(
            f"{text} is no address: {digits or 'nothing'} is not a port number",
            "Give host:port, such as localhost:1234, or the path of a unix socket.",
        )
    return int(digits)
