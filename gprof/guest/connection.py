"""A guarded stream of packets to a stub."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from gprof.errors import TargetGone
from gprof.guest import guard
from gprof.guest.address import Address
from gprof.guest.rsp import Decoder, is_exit

_RECEIVE = 1 << 16

#: Seconds of looking without pause; a stop is over in a fraction of it.
_SPIN = 0.002


class Connection:
    """Bytes to and packets from one stub, with a guard that outlives us.

    Args:
        address: where the stub listens.

    Raises:
        TargetError: see `Address.connect`.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._decoder = Decoder()
        self._packets: deque[bytes] = deque()
        #: When the last bytes came; decoding them takes longer than the guest waits.
        self.received_ns = 0
        self._socket = address.open_socket()
        try:
            # The guard is there before the connection is: from then on the guest is safe.
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(self._socket.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[self._socket.fileno()],
                start_new_session=True,
                bufsize=0,
            )
            try:
                address.connect(self._socket)
            except BaseException:
                self._dismiss()
                raise
        except BaseException:
            self._socket.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def send(self, data: bytes) -> None:
        """Hand over all bytes in one write.

        Raises:
            TargetGone: the stub closed the connection.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone(error.strerror or str(error)) from None

    def receive(self, timeout: float, *, spin: bool = False) -> bytes | None:
        """The next packet's payload, or None when none came in `timeout` seconds (0: is here).

        Args:
            timeout: seconds.
            spin: look for it without pause for the first milliseconds instead of sleeping until
                it comes: so the moment of its coming is known without the time of waking up.

        Raises:
            TargetGone: the connection ended, or the stub says that the guest did.
            ProtocolError: the bytes are no packets.
        """
        begun = time.monotonic()
        while not self._packets:
            elapsed = time.monotonic() - begun
            pause = 0.0 if spin and elapsed < _SPIN else max(0.0, timeout - elapsed)
            if not self._poll.poll(pause * 1000):
                if elapsed >= timeout:
                    return None
                continue
            try:
                data = self._socket.recv(_RECEIVE)
            except OSError as error:
                raise self._gone(error.strerror or str(error)) from None
            self.received_ns = time.monotonic_ns()
            if not data:
                raise self._gone("QEMU closed it")
            self._packets.extend(self._decoder.feed(data))
        payload = self._packets.popleft()
        if is_exit(payload):
            raise self._gone("the guest has shut down")
        return payload

    @property
    def waiting(self) -> bool:
        """Whether more packets came together with the last one that was received."""
        return bool(self._packets)

    def order_guard(self, order: bytes) -> None:
        """Tell the guard what to do if we vanish (see `gprof.guest.guard`)."""
        assert self._guard.stdin is not None
        # A guard that was killed can only be done without; one that was dismissed needs no order.
        with contextlib.suppress(OSError, ValueError):
            self._guard.stdin.write(order)

    def close(self) -> None:
        """Close without a word to the stub: whether the guest runs was settled before."""
        self._dismiss()
        self._socket.close()

    def abandon(self) -> None:
        """Close a connection that was never answered.

        A stub that serves somebody else will take up ours when they leave, and stop the guest
        for it: the farewell that waits in its queue lets the guest go again.
        """
        with contextlib.suppress(OSError):
            self._socket.sendall(guard.FAREWELL)
        self.close()

    def _dismiss(self) -> None:
        self.order_guard(b"q")
        assert self._guard.stdin is not None
        with contextlib.suppress(OSError):
            self._guard.stdin.close()
        self._guard.wait()

    def _gone(self, why: str) -> TargetGone:
        return TargetGone(
            f"the connection to {self.address.text} ended: {why}",
            "Check whether QEMU still runs; what was recorded until now is complete.",
        )
