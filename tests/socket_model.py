"""What serves one client after another on a unix socket, for models of QEMU's interfaces."""

from __future__ import annotations

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from pathlib import Path

from tests.waiting import PATIENCE


class SocketModel(ABC):
    """Serves from `serve` on until it is closed.

    Attributes:
        path: of the socket.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._client: socket.socket | None = None
        self._lock = threading.RLock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def serve(self) -> None:
        """Begin; for the end of a subclass's `__init__`."""
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread.start()

    def close(self) -> None:
        """Stop serving, as QEMU that ends; may be called again."""
        if not self._thread.is_alive():
            return
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            self._hang_up()
        self._thread.join(PATIENCE)

    @abstractmethod
    def _greet(self) -> None:
        """Somebody has connected; called with the lock held, as `_leave` is."""

    @abstractmethod
    def _hear(self, client: socket.socket) -> None:
        """Answer until the client leaves."""

    @abstractmethod
    def _leave(self) -> None:
        """The client has left."""

    def _hang_up(self) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):  # it may have left in this instant
                self._client.shutdown(socket.SHUT_RDWR)

    def _send(self, data: bytes) -> None:
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sendall(data)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._client = client
                self._greet()
            with client, contextlib.suppress(OSError):
                self._hear(client)
            with self._lock:
                self._client = None
                self._leave()
