"""QEMU's gdbstub as the rest of gprof uses it: what may be asked of a guest, and how it runs on.

Everything asked of a running guest goes through `Stub.exchange`: one write that stops it, asks and
lets it run (see `gprof.guest.dialogue`). Where a question depends on the answer to another one,
the guest has to wait for us in between: `Stub.stopped`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from gprof.errors import ProtocolError, TargetGone
from gprof.guest.address import Address
from gprof.guest.connection import Connection
from gprof.guest.dialogue import Dialogue, Exchange, monitor_command, portions
from gprof.guest.greeting import Vcpu, greet, list_vcpus
from gprof.guest.rsp import is_error
from gprof.guest.stop import Stop


class Stub:
    """QEMU's gdbstub at an address; connecting stops the guest for about a millisecond.

    Args:
        address: where it listens.
        running: whether the guest ran just before, where a monitor said so: a stub of QEMU 8.1
            and later does not tell a guest that somebody paused from one that it stopped itself.

    Attributes:
        packet_size: the longest packet that the stub takes, in characters.
        vcpus: by index.
        status: what QEMU's monitor said of the machine on connecting; empty where it has none.
        accelerated: a hypervisor runs the guest's instructions; False for emulation (TCG), None
            where the stub does not say.
        greeting_ns: how long connecting has halted the guest; 0 where it stood before.

    Raises:
        ConnectionRefused, PermissionProblem: see `Address.connect`.
        StubBusy, NotAStub: see `greet`.
    """

    def __init__(self, address: Address, *, running: bool | None = None) -> None:
        self.address = address
        self.vcpus: tuple[Vcpu, ...] = ()
        self._connection = Connection(address)
        self._dialogue = Dialogue(self._connection)
        # A screen may read memory while the sampler samples: one exchange at a time.
        self._turn = threading.RLock()
        try:
            self._greet(running)
        except BaseException:
            self.close()
            raise

    def _greet(self, running: bool | None) -> None:
        """Learn whom we talk to, and resume the guest that connecting has stopped."""
        started = time.monotonic_ns()
        greeting = greet(self._connection, self._dialogue)
        self.packet_size = greeting.packet_size
        self.status = greeting.status
        self.accelerated = greeting.accelerated
        self._dialogue.set_held(not greeting.ran or running is False)
        if self.held:
            self._dialogue.acknowledge()
        else:
            self._dialogue.resume()
        self.greeting_ns = 0 if self.held else time.monotonic_ns() - started
        self.vcpus = list_vcpus(self.exchange)

    @property
    def held(self) -> bool:
        """Somebody else has stopped the guest, or it was not started yet.

        It stays stopped, exchanges read it as it is, and `released` asks whether that is over.
        """
        return self._dialogue.held

    def exchange(self, requests: Sequence[bytes], *, timed: bool = False) -> Exchange:
        """Stop the guest, ask, and let it run again, in one write.

        Requests that do not fit one write are divided over several stops. A guest that is held
        is asked without being resumed; check `held` afterwards to tell the two apart.

        Args:
            requests: payloads of packets.
            timed: take the times without the delay of waking up, at the price of busy waiting.

        Raises:
            TargetGone: QEMU ended.
            ProtocolError: the stub fell silent or broke the protocol.
        """
        with self._turn:
            parts = [self._exchange(part, spin=timed) for part in portions(requests)]
        return Exchange(
            [reply for part in parts for reply in part.replies],
            parts[0].asked_ns,
            parts[0].stopped_ns,
            parts[-1].answered_ns,
            len(parts) == 1 and parts[0].caught,
        )

    def _exchange(self, requests: Sequence[bytes], *, spin: bool = False) -> Exchange:
        dialogue = self._dialogue
        ours, exchange = dialogue.stop(requests, resume=True, spin=spin)
        if self.held:
            if ours:  # it ran again: this stop was our own
                dialogue.resume()
                dialogue.set_held(False)
            else:
                dialogue.acknowledge()
        elif not ours:  # it stood already, and our continue has just resumed it
            dialogue.put_back()
        return exchange

    @contextmanager
    def stopped(self, *, timed: bool = False) -> Iterator[Stop]:
        """Keep the guest stopped while questions follow from answers; it runs again at the end.

        A guest that somebody else has stopped is asked as it stands, and stays stopped.

        Args:
            timed: see `exchange`.

        Raises:
            TargetGone, ProtocolError: see `exchange`.
        """
        with self._turn:
            stop = Stop(self._dialogue, spin=timed)
            try:
                yield stop
            except BaseException:
                with suppress(TargetGone):
                    stop.end()
                raise
            stop.end()

    def stand_by(self) -> None:
        """Treat the guest as held: its monitor says that somebody else has stopped it."""
        with self._turn:
            if not self._dialogue.other_stop():
                self._dialogue.set_held(True)

    def released(self) -> bool:
        """Whether a held guest runs again; asking does not resume it."""
        with self._turn:
            if self.held:
                self._exchange([b"qC"])
            return not self.held

    def other_stop(self) -> bool:
        """Whether somebody has stopped the guest since the last exchange; free for the guest."""
        with self._turn:
            return self._dialogue.other_stop()

    def read_object(self, kind: str, annex: str) -> bytes | None:
        """A whole object of the stub (`features`), or None where it has none of that name.

        Raises:
            ProtocolError: the object does not end.
        """
        # A chunk may grow to twice its size by escapes; QEMU itself sends at most this much.
        size = min((self.packet_size - 5) // 2, 0x4000)
        found = bytearray()
        while len(found) < (1 << 20):
            offsets = range(len(found), len(found) + 8 * size, size)
            asked = [f"qXfer:{kind}:read:{annex}:{at:x},{size:x}".encode() for at in offsets]
            for reply in self.exchange(asked).replies:
                if is_error(reply) or not reply:
                    return None
                found += reply[1:]
                if reply[:1] == b"l":
                    return bytes(found)
        raise ProtocolError(f"the stub's {annex} has more than {len(found)} bytes")

    def monitor(self, command: str) -> str:
        """The output of a command of QEMU's monitor; empty where the stub has no monitor."""
        return self.exchange([monitor_command(command)]).replies[0].decode("utf-8", "replace")

    def close(self) -> None:
        """Detach; the guest runs, unless somebody else has stopped it."""
        with self._turn:
            try:
                if not self.vcpus:  # never greeted: what it says of itself is unknown
                    self._connection.abandon()
                elif not self._dialogue.other_stop():
                    self._detach()
            except (TargetGone, ProtocolError):
                pass  # nothing is left to detach from
            finally:
                self._connection.close()

    def _detach(self) -> None:
        clusters = sorted({vcpu.cluster for vcpu in self.vcpus})
        detach = [b"D;%x" % int(c, 16) if c else b"D" for c in clusters]
        ours, _ = self._dialogue.stop(detach, resume=False)
        if not ours:  # detaching has resumed what somebody else had stopped
            self._dialogue.acknowledge()
            self._dialogue.put_back()
