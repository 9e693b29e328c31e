"""What we say to QEMU's gdbstub and what it answers, at the least cost to the guest.

QEMU handles the interrupt byte inside its receive loop, so one write of *interrupt, requests,
continue* is a whole stop: the guest waits for nobody's answer, and runs again however we end
(gdbstub/gdbstub.c, gdb_read_byte; QEMU 7.2 and 10.1).

Three rules of that function shape the rest:

- A byte that arrives while the guest runs stops it, whatever it is: nothing is sent but stops.
- While a reply of the stub is unacknowledged, an interrupt is swallowed. `continue` has no reply,
  so after an exchange nothing is pending; after reading a reply of a stopped guest we acknowledge.
- `continue` resumes a guest that somebody else has stopped. A stop of theirs shows as a packet we
  did not ask for; then the guest is *held*. But it may also come after our last look and before
  QEMU reads our write, and its report is the same as that of our own stop. So the interrupt is a
  question, not the interrupt byte: its first byte stops a running guest and the rest of it is
  lost; only a guest that stood already answers it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.connection import Connection
from gprof.guest.rsp import INTERRUPT, is_stop, packet

#: Seconds a stub may take to answer. QEMU answers in less than a millisecond, unless it is starved
#: itself, or a disk takes its time: every stop flushes what the guest has written.
ANSWER_LIMIT = 10.0

#: Requests in one write stay below QEMU's input buffer of 4096 bytes (chardev/char-socket.c reads
#: that much at once), so that one write is one turn of its receive loop.
WRITE_LIMIT = 4000

_CONTINUE = packet(b"c")
#: What interrupts. Nothing else that we ask has its answer.
_PROBE, _STOOD = packet(b"qAttached"), b"1"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The answers to one stop.

    Attributes:
        replies: one payload for each request; the output of a monitor command is its text.
        asked_ns: CLOCK_MONOTONIC before the write.
        stopped_ns: when the stub's word that the guest stopped was read.
        answered_ns: when the last reply was read.
        caught: that word came alone, so `stopped_ns` is when it was sent. Otherwise we were away
            until there was more, and it says nothing.
        waited: the guest stood while we made up a further question: our delays were its own.
    """

    replies: list[bytes]
    asked_ns: int
    stopped_ns: int
    answered_ns: int
    caught: bool
    waited: bool = False


class Dialogue:
    """Requests and replies over one connection; who uses it takes turns.

    Args:
        connection: open; who made it closes it.

    Attributes:
        held: somebody else has stopped the guest, or it was not started yet: we never resume it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.held = False

    def stop(
        self, requests: Sequence[bytes], *, resume: bool, spin: bool = False
    ) -> tuple[bool, Exchange]:
        """Stop the guest and ask, in one write.

        Args:
            requests: payloads of packets, one of the `portions`.
            resume: let it run again in the same write, unless it is held.
            spin: see `Connection.receive`.

        Returns:
            Whether it was we who stopped it, and the answers.

        Raises:
            TargetGone: QEMU ended.
            ProtocolError: the stub fell silent or broke the protocol.
        """
        self.other_stop()
        ask = _PROBE + b"".join(map(packet, requests))
        asked = time.monotonic_ns()
        self._connection.send(ask + _CONTINUE if resume and not self.held else ask)
        reply = self._reply(spin=spin)
        stopped = time.monotonic_ns()
        caught = spin and not self._connection.waiting
        # A guest that is not resumed waits for us. To look without pause would take the CPU from
        # QEMU where there are few: on a busy host that made stops four times longer.
        spin = spin and resume
        while is_stop(reply):
            reply = self._reply(spin=spin)
        ours = reply != _STOOD
        replies = self.replies(requests, reply if ours else None, spin=spin)
        return ours, Exchange(replies, asked, stopped, time.monotonic_ns(), caught and ours)

    def ask(self, requests: Sequence[bytes], *, resume: bool = False) -> list[bytes]:
        """Ask a guest that stands, and let it run again in the last write where that is wanted."""
        *parts, last = portions(requests)
        replies: list[bytes] = []
        for part in parts:
            self._connection.send(b"".join(map(packet, part)))
            replies += self.replies(part)
        self._connection.send(b"".join(map(packet, last)) + (_CONTINUE if resume else b""))
        return replies + self.replies(last)

    def replies(
        self, requests: Sequence[bytes], first: bytes | None = None, *, spin: bool = False
    ) -> list[bytes]:
        """The replies to requests that were sent; the first one may have been received already."""
        replies = []
        for request in requests:
            reply = self._reply(spin=spin) if first is None else first
            first = None
            if request.startswith(b"qRcmd,"):
                reply = self._monitor_output(reply)
            replies.append(reply)
        return replies

    def _monitor_output(self, reply: bytes) -> bytes:
        """The text of a monitor command: packets `O<hex>` until `OK`; empty where refused."""
        output = bytearray()
        while reply[:1] == b"O" and reply != b"OK":
            output += _from_hexadecimal(reply[1:])
            reply = self._reply()
        return bytes(output)

    def _reply(self, *, spin: bool = False) -> bytes:
        reply = self._connection.receive(ANSWER_LIMIT, spin=spin)
        if reply is None:
            raise ProtocolError(
                f"the stub at {self._connection.address.text} did not answer within "
                f"{ANSWER_LIMIT:g} s",
                "QEMU may be busy, suspended or dead: look at its process.",
            )
        return reply

    @property
    def received_ns(self) -> int:
        """When the last bytes came, before they were looked at."""
        return self._connection.received_ns

    def resume(self) -> None:
        """Let the guest run."""
        self._connection.send(_CONTINUE)

    def acknowledge(self) -> None:
        """Clear the reply that QEMU keeps for sending it again, so that an interrupt is heard.

        Safe even if the guest was resumed in this moment: a byte for a pending reply never
        reaches the code that stops it.
        """
        self._connection.send(b"+")

    def other_stop(self) -> bool:
        """Whether somebody has stopped the guest since the last exchange; free for the guest."""
        if not self.held and (unasked := self._connection.receive(0)) is not None:
            self._hold(unasked)
        return self.held

    def put_back(self) -> None:
        """Stop a guest once more that somebody else had stopped and we have resumed.

        One that has shut down still stands: QEMU does nothing for the `continue` (gdb_continue in
        gdbstub/gdbstub.c of 7.2) and nothing for the interrupt; the question has an answer anyway.
        """
        self._connection.send(INTERRUPT + _PROBE)
        while is_stop(reply := self._reply()):
            pass
        if reply != _STOOD:
            raise ProtocolError(f"the stub sent {reply!r} where a guest that stands was expected")
        self.acknowledge()
        self.set_held(True)

    def _hold(self, stop: bytes) -> None:
        if not is_stop(stop):
            raise ProtocolError(f"the stub sent {stop!r} where a stop was expected")
        self.acknowledge()
        self.set_held(True)

    def set_held(self, held: bool) -> None:
        """From now on the guest is held, or is not; its guard has to know, too."""
        self.held = held
        self._connection.order_guard(b"h" if held else b"o")


def monitor_command(command: str) -> bytes:
    """The request that runs a command in QEMU's monitor."""
    return b"qRcmd," + (command + "\n").encode().hex().encode()


def portions(requests: Sequence[bytes]) -> list[Sequence[bytes]]:
    """The requests in order, divided into as few writes as hold them; one where there are none."""
    found: list[Sequence[bytes]] = []
    first = size = 0
    for i, request in enumerate(requests):
        length = len(request) + 4
        if size + length > WRITE_LIMIT and i > first:
            found.append(requests[first:i])
            first, size = i, 0
        size += length
    found.append(requests[first:])
    return found


def _from_hexadecimal(digits: bytes) -> bytes:
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise ProtocolError(f"the stub sent {digits[:32]!r} where bytes were expected") from None
