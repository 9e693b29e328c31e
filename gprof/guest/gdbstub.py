"""A connection to QEMU's gdbstub that costs the guest as little as the protocol allows.

QEMU handles the interrupt byte inside its receive loop, so one write of *interrupt, requests,
continue* is a whole stop: the guest waits for nobody's answer, and runs again however we end
(gdbstub/gdbstub.c, gdb_read_byte; QEMU 7.2 and 10.1). Everything asked of a running guest goes
through `Stub.exchange`, which does that.

Three rules of that function shape the rest:

- A byte that arrives while the guest runs stops it, whatever it is: nothing is sent but exchanges.
- While a reply of the stub is unacknowledged, an interrupt is swallowed. `continue` has no reply,
  so after an exchange nothing is pending; after reading a reply of a stopped guest we acknowledge.
- `continue` resumes a guest that somebody else has stopped. A stop of theirs shows as a packet we
  did not ask for; then the guest is *held*. But it may also come after our last look and before
  QEMU reads our write, and its report is the same as that of our own stop. So the interrupt is a
  question, not the interrupt byte: its first byte stops a running guest and the rest of it is
  lost; only a guest that stood already answers it.

Where a question depends on the answer to another one (the stack depends on the stack pointer), the
guest has to wait for us in between: `Stub.stopped`. The last question carries the continue.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from gprof.errors import NotAStub, ProtocolError, StubBusy, TargetGone
from gprof.guest.address import HOW_TO_LISTEN, Address
from gprof.guest.connection import Connection
from gprof.guest.rsp import INTERRUPT, is_error, is_stop, packet

#: Seconds a stub may take to answer. QEMU answers in less than a millisecond.
ANSWER_LIMIT = 2.0

#: Requests in one write stay below QEMU's input buffer of 4096 bytes (chardev/char-socket.c reads
#: that much at once), so that one write is one turn of its receive loop.
WRITE_LIMIT = 4000

_CONTINUE = packet(b"c")
#: What interrupts. Nothing else that we ask has its answer.
_PROBE, _STOOD = packet(b"qAttached"), b"1"
_MOST_VCPUS = 1024
_THREAD = re.compile(rb"(?:p([0-9a-f]+)\.)?([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A vcpu as the stub names it.

    Attributes:
        index: QEMU's cpu-index, from 0.
        thread: its thread id in the protocol, such as `p01.02`.
    """

    index: int
    thread: bytes

    @property
    def cluster(self) -> bytes:
        """The process part of its thread id: vcpus of one kind; empty where there is none."""
        return self.thread[1:].partition(b".")[0] if self.thread[:1] == b"p" else b""


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


class Stub:
    """QEMU's gdbstub at an address; connecting stops the guest for about a millisecond.

    Args:
        address: where it listens.
        running: whether the guest ran just before, where a monitor said so: a stub of QEMU 8.1
            and later does not tell a guest that somebody paused from one that it stopped itself.

    Attributes:
        packet_size: the longest packet that the stub takes, in characters.
        vcpus: by index.
        held: somebody else has stopped the guest, or it was not started yet: it stays stopped,
            exchanges read it as it is, and `released` asks whether that is over.
        status: what QEMU's monitor said of the machine on connecting; empty where it has none.
        accelerated: a hypervisor runs the guest's instructions; False for emulation (TCG), None
            where the stub does not say.

    Raises:
        ConnectionRefused, PermissionProblem: see `Address.connect`.
        StubBusy: the stub does not answer; another client holds it.
        NotAStub: what answers is no gdbstub.
    """

    def __init__(self, address: Address, *, running: bool | None = None) -> None:
        self.address = address
        self._known_running = running
        self._connection = Connection(address)
        # A screen may read memory while the sampler samples: one exchange at a time.
        self._turn = threading.RLock()
        self.held = False
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self) -> None:
        """Learn whom we talk to, and resume the guest that connecting has stopped."""
        requests = [
            b"qSupported:multiprocess+;swbreak-;hwbreak-;vContSupported+",
            monitor_command("info status"),
            monitor_command("info version"),
            monitor_command("info kvm"),
        ]
        started = time.monotonic_ns()
        self._connection.send(b"".join(map(packet, requests)))
        stopped_by_us, replies = self._first_answers(requests)
        supported = dict(
            part.partition(b"=")[::2] for part in replies[0].split(b";") if b"=" in part
        )
        if b"PacketSize" not in supported and not replies[0]:
            raise NotAStub(
                f"the stub at {self.address.text} does not say what it supports",
                "gprof works with the gdbstub of QEMU; this one belongs to something else.",
            )
        self.packet_size = _hexadecimal(supported.get(b"PacketSize", b"1000"))
        self.status = replies[1].decode("ascii", "replace").strip()
        # A stub that reports every stop (QEMU up to 8.0) said nothing: the guest stood already.
        # A later one never speaks on connecting; then the monitor's state must do.
        reports_every_stop = _reports_every_stop(replies[2])
        running_before = stopped_by_us or (not reports_every_stop and _was_running(self.status))
        self.held = not running_before or self._known_running is False
        self._connection.order_guard(b"h" if self.held else b"o")
        if self.held:
            self._acknowledge()
        else:
            self._connection.send(_CONTINUE)
        self.greeting_ns = 0 if self.held else time.monotonic_ns() - started
        self.accelerated = {b"enabled": True, b"disabled": False}.get(
            replies[3].strip().rpartition(b": ")[2]
        )
        self._attach_clusters()
        self.vcpus = self._list_vcpus()

    def _first_answers(self, requests: list[bytes]) -> tuple[bool, list[bytes]]:
        """The replies to the first write, and whether connecting has stopped a running guest."""
        try:
            first = self._connection.receive(ANSWER_LIMIT)
        except ProtocolError as error:
            raise NotAStub(
                f"what listens at {self.address.text} is no gdbstub: {error.problem}",
                "Check the address; a QEMU monitor or a VNC server has one of its own. "
                + HOW_TO_LISTEN,
            ) from None
        except TargetGone:
            raise NotAStub(
                f"what listens at {self.address.text} closed the connection at our first packet",
                "Check the address. " + HOW_TO_LISTEN,
            ) from None
        if first is None:
            raise StubBusy(
                f"the stub at {self.address.text} did not answer within {ANSWER_LIMIT:g} s: most "
                "likely another debugger is attached, and it serves one client at a time",
                "Detach the other client (in gdb: `detach`), or give gprof a stub of its own with "
                "`gdbserver` in QEMU's monitor.",
            )
        stopped = is_stop(first)
        return stopped, self._replies(requests, None if stopped else first)

    def _attach_clusters(self) -> None:
        """Attach to every cluster of vcpus; a client starts with the first alone."""
        for process in range(2, _MOST_VCPUS):
            # Its reply is a report of a stop as well, so it must not come first.
            if not is_stop(self.exchange([b"qC", b"vAttach;%x" % process]).replies[1]):
                return

    def _list_vcpus(self) -> tuple[Vcpu, ...]:
        threads: dict[int, bytes] = {}
        asked = [b"qfThreadInfo"] + [b"qsThreadInfo"] * 63  # a thread a packet, then `l`
        while len(threads) < _MOST_VCPUS:
            replies = self.exchange(asked).replies
            names = [
                name for reply in replies if reply[:1] == b"m" for name in reply[1:].split(b",")
            ]
            for name in names:
                if (match := _THREAD.fullmatch(name)) is None:
                    raise ProtocolError(f"the stub names a thread {name!r}")
                # Threads are numbered over all clusters: cpu_index + 1 (gdbstub/system.c).
                threads[int(match[2], 16) - 1] = name
            if replies[-1][:1] != b"m":
                break
            asked = asked[1:]
        if not threads:
            raise ProtocolError(f"the stub at {self.address.text} lists no vcpus")
        return tuple(Vcpu(index, thread) for index, thread in sorted(threads.items()))

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
            parts = [self._exchange(part, spin=timed) for part in _portions(requests)]
        return Exchange(
            [reply for part in parts for reply in part.replies],
            parts[0].asked_ns,
            parts[0].stopped_ns,
            parts[-1].answered_ns,
            len(parts) == 1 and parts[0].caught,
        )

    def _exchange(self, requests: Sequence[bytes], *, spin: bool = False) -> Exchange:
        self.other_stop()
        ask = _PROBE + b"".join(map(packet, requests))
        asked = time.monotonic_ns()
        self._connection.send(ask if self.held else ask + _CONTINUE)
        first = self._reply(spin=spin)
        stopped = time.monotonic_ns()
        caught = spin and not self._connection.waiting
        ours, first_reply = self._whose_stop(first, spin=spin)
        replies = self._replies(requests, first_reply, spin=spin)
        answered = time.monotonic_ns()
        if self.held:
            if ours:  # it ran again: this stop was our own
                self._connection.send(_CONTINUE)
                self._set_held(False)
            else:
                self._acknowledge()
        elif not ours:
            # It stood already, and our continue has just resumed it: stop it once more.
            self._connection.send(INTERRUPT)
            self._hold(self._connection.receive(ANSWER_LIMIT))
        return Exchange(replies, asked, stopped, answered, caught and ours)

    def _whose_stop(self, first: bytes, *, spin: bool = False) -> tuple[bool, bytes | None]:
        """Whether our probe has stopped the guest, and the first reply if it came already."""
        reply = first
        while is_stop(reply):
            reply = self._reply(spin=spin)
        return (False, None) if reply == _STOOD else (True, reply)

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
            stop = Stop(self, spin=timed)
            try:
                yield stop
            except BaseException:
                with suppress(TargetGone):
                    stop.end()
                raise
            stop.end()

    def stop_and_ask(self, requests: Sequence[bytes], *, spin: bool) -> tuple[bool, Exchange]:
        """Begin a stop of several questions; whether it is ours to end. For `Stop` alone."""
        self.other_stop()
        first, *more = _portions(requests)
        asked = time.monotonic_ns()
        self._connection.send(_PROBE + b"".join(map(packet, first)))
        word = self._reply(spin=spin)
        stopped = time.monotonic_ns()
        caught = spin and not self._connection.waiting
        # From here on the guest waits for us. To look without pause would take the CPU from QEMU
        # where there are few: on a busy host that made stops four times longer.
        ours, reply = self._whose_stop(word)
        replies = self._replies(first, reply)
        if ours == self.held:
            self._set_held(not ours)
        for part in more:
            replies += self.ask_stopped(part)
        return ours, Exchange(replies, asked, stopped, time.monotonic_ns(), caught and ours)

    def ask_stopped(self, requests: Sequence[bytes], *, resume: bool = False) -> list[bytes]:
        """Ask a guest that stands. For `Stop` alone."""
        replies: list[bytes] = []
        parts = _portions(requests)
        for number, part in enumerate(parts, 1):
            last = _CONTINUE if resume and number == len(parts) else b""
            self._connection.send(b"".join(map(packet, part)) + last)
            replies += self._replies(part, None)
        return replies

    @property
    def received_ns(self) -> int:
        """When the last bytes came, before they were looked at."""
        return self._connection.received_ns

    def end_stop(self, *, resume: bool) -> None:
        """Let the guest run, or leave it as somebody else has stopped it. For `Stop` alone."""
        if resume:
            self._connection.send(_CONTINUE)
        else:
            self._acknowledge()

    def _replies(
        self, requests: Sequence[bytes], first: bytes | None, *, spin: bool = False
    ) -> list[bytes]:
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
                f"the stub at {self.address.text} did not answer within {ANSWER_LIMIT:g} s",
                "QEMU may be busy, suspended or dead: look at its process.",
            )
        return reply

    def _hold(self, stop: bytes | None) -> None:
        if stop is None or not is_stop(stop):
            raise ProtocolError(f"the stub sent {stop!r} where a stop was expected")
        self._acknowledge()
        self._set_held(True)

    def _set_held(self, held: bool) -> None:
        self.held = held
        self._connection.order_guard(b"h" if held else b"o")

    def _acknowledge(self) -> None:
        """Clear the reply that QEMU keeps for sending it again, so that an interrupt is heard.

        Safe even if the guest was resumed in this moment: a byte for a pending reply never
        reaches the code that stops it.
        """
        self._connection.send(b"+")

    def stand_by(self) -> None:
        """Treat the guest as held: its monitor says that somebody else has stopped it."""
        with self._turn:
            if not self.held:
                self.other_stop()
                self._set_held(True)

    def released(self) -> bool:
        """Whether a held guest runs again; asking does not resume it."""
        with self._turn:
            if self.held:
                self._exchange([b"qC"])
            return not self.held

    def other_stop(self) -> bool:
        """Whether somebody has stopped the guest since the last exchange; free for the guest."""
        with self._turn:
            if not self.held and (unasked := self._connection.receive(0)) is not None:
                self._hold(unasked)
            return self.held

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
            self._close()

    def _close(self) -> None:
        vcpus = getattr(self, "vcpus", ())
        try:
            if not vcpus:  # never greeted: what it says of itself is unknown
                self._connection.abandon()
            elif not self.other_stop():
                clusters = sorted({vcpu.cluster for vcpu in vcpus})
                detach = [b"D;%x" % int(c, 16) if c else b"D" for c in clusters]
                self._connection.send(_PROBE + b"".join(map(packet, detach)))
                ours, first = self._whose_stop(self._reply())
                self._replies(detach, first)
                if not ours:  # detaching has resumed what somebody else had stopped
                    self._acknowledge()
                    self._connection.send(INTERRUPT)
                    self._connection.receive(ANSWER_LIMIT)
        except (TargetGone, ProtocolError):
            pass  # nothing is left to detach from
        finally:
            self._connection.close()


class Stop:
    """One stop of a guest, for questions that follow from each other; see `Stub.stopped`."""

    def __init__(self, stub: Stub, *, spin: bool) -> None:
        self._stub = stub
        self._spin = spin
        self._ours = self._running = False
        self._first: Exchange | None = None
        self._answered_ns = 0

    @property
    def exchange(self) -> Exchange:
        """The times of the whole stop; its replies are those of the first question."""
        assert self._first is not None
        return replace(self._first, answered_ns=self._answered_ns, waited=True)

    def ask(self, requests: Sequence[bytes], *, last: bool = False) -> list[bytes]:
        """The replies to some requests; the guest stands while they are made.

        Args:
            requests: payloads of packets.
            last: let the guest run in the same write, if it was we who stopped it. The first
                question is never the last: for that there is `Stub.exchange`.
        """
        if self._first is None:
            self._ours, self._first = self._stub.stop_and_ask(requests, spin=self._spin)
            replies = self._first.replies
        else:
            assert not self._running, "the last question was asked"
            self._running = last and self._ours
            replies = self._stub.ask_stopped(requests, resume=self._running)
        self._answered_ns = self._stub.received_ns
        return replies

    def end(self) -> None:
        """Let the guest run where the last question did not."""
        if self._first is not None and not self._running:
            self._running = True
            self._stub.end_stop(resume=self._ours)


def monitor_command(command: str) -> bytes:
    """The request that runs a command in QEMU's monitor."""
    return b"qRcmd," + (command + "\n").encode().hex().encode()


def _portions(requests: Sequence[bytes]) -> list[Sequence[bytes]]:
    portions: list[Sequence[bytes]] = []
    first = size = 0
    for i, request in enumerate(requests):
        length = len(request) + 4
        if size + length > WRITE_LIMIT and i > first:
            portions.append(requests[first:i])
            first, size = i, 0
        size += length
    portions.append(requests[first:])
    return portions


def _was_running(status: str) -> bool:
    """Whether a machine that stands since we connected ran before, as far as its monitor knows.

    Any pause reads `paused`; other ways to stand are named: `paused (prelaunch)`.
    """
    return not status or status.endswith(("running", "paused"))


def _reports_every_stop(version: bytes) -> bool:
    """Whether this QEMU reports stops nobody asked for: up to 8.0, before commit 758370052fb."""
    match = re.match(rb"\s*(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) <= (8, 0)


def _hexadecimal(digits: bytes) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise ProtocolError(f"the stub sent {digits!r} where a number was expected") from None


def _from_hexadecimal(digits: bytes) -> bytes:
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise ProtocolError(f"the stub sent {digits[:32]!r} where bytes were expected") from None
