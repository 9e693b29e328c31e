"""The first words with a stub: whether it is one, what it serves, whose stop its guest is in."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gprof.errors import NotAStub, ProtocolError, StubBusy, TargetGone
from gprof.guest.address import HOW_TO_LISTEN
from gprof.guest.connection import Connection
from gprof.guest.dialogue import Dialogue, Exchange, monitor_command
from gprof.guest.rsp import is_stop, packet

#: Seconds until the first answer; a stub that serves somebody else never gives one.
GREETING_LIMIT = 5.0

_MOST_VCPUS = 1024
_THREAD = re.compile(rb"(?:p([0-9a-f]+)\.)?([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a stub says first.

    Attributes:
        packet_size: the longest packet that the stub takes, in characters.
        status: what QEMU's monitor says of the machine; empty where it has none.
        accelerated: a hypervisor runs the guest's instructions; False for emulation (TCG), None
            where the stub does not say.
        ran: the guest ran until connecting has stopped it, as far as the stub can tell.
    """

    packet_size: int
    status: str
    accelerated: bool | None
    ran: bool


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


def greet(connection: Connection, dialogue: Dialogue) -> Greeting:
    """Learn whom we talk to. Connecting has stopped the guest, and it stays so.

    Raises:
        StubBusy: the stub does not answer; another client holds it.
        NotAStub: what answers is no gdbstub.
        ProtocolError: it broke the protocol later on.
    """
    requests = [
        b"qSupported:multiprocess+;swbreak-;hwbreak-;vContSupported+",
        monitor_command("info status"),
        monitor_command("info version"),
        monitor_command("info kvm"),
    ]
    connection.send(b"".join(map(packet, requests)))
    first = _first_packet(connection)
    reported = is_stop(first)
    features, status, version, kvm = dialogue.replies(requests, None if reported else first)
    supported = dict(part.partition(b"=")[::2] for part in features.split(b";") if b"=" in part)
    if b"PacketSize" not in supported and not features:
        raise NotAStub(
            f"the stub at {connection.address.text} does not say what it supports",
            "gprof works with the gdbstub of QEMU; this one belongs to something else.",
        )
    said = status.decode("ascii", "replace").strip()
    # A stub that reports every stop (QEMU up to 8.0) said nothing: the guest stood already.
    # A later one never speaks on connecting; then the monitor's state must do.
    ran = reported or (not _reports_every_stop(version) and _was_running(said))
    return Greeting(
        _hexadecimal(supported.get(b"PacketSize", b"1000")),
        said,
        {b"enabled": True, b"disabled": False}.get(kvm.strip().rpartition(b": ")[2]),
        ran,
    )


def _first_packet(connection: Connection) -> bytes:
    """What comes first: the word that connecting has stopped a guest, or the first reply."""
    where = connection.address.text
    try:
        first = connection.receive(GREETING_LIMIT)
    except ProtocolError as error:
        raise NotAStub(
            f"what listens at {where} is no gdbstub: {error.problem}",
            "Check the address; a QEMU monitor or a VNC server has one of its own. "
            + HOW_TO_LISTEN,
        ) from None
    except TargetGone:
        raise NotAStub(
            f"what listens at {where} closed the connection at our first packet",
            "Check the address. " + HOW_TO_LISTEN,
        ) from None
    if first is None:
        raise StubBusy(
            f"the stub at {where} did not answer within {GREETING_LIMIT:g} s: most likely another "
            "debugger is attached, and it serves one client at a time",
            "Detach the other client (in gdb: `detach`), or give gprof a stub of its own with "
            "`gdbserver` in QEMU's monitor.",
        )
    return first


def _reports_every_stop(version: bytes) -> bool:
    """Whether this QEMU reports stops nobody asked for: up to 8.0, before commit 758370052fb."""
    match = re.match(rb"\s*(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) <= (8, 0)


def _was_running(status: str) -> bool:
    """Whether a machine that stands since we connected ran before, as far as its monitor knows.

    Any pause reads `paused`; other ways to stand are named: `paused (prelaunch)`.
    """
    return not status or status.endswith(("running", "paused"))


def _hexadecimal(digits: bytes) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise ProtocolError(f"the stub sent {digits!r} where a number was expected") from None


def list_vcpus(exchange: Callable[[Sequence[bytes]], Exchange]) -> tuple[Vcpu, ...]:
    """All vcpus by index, once the stub serves us those of every cluster.

    Args:
        exchange: asks the stub; see `Stub.exchange`.

    Raises:
        TargetGone: QEMU ended.
        ProtocolError: it lists none, or what is no vcpu.
    """
    _attach_clusters(exchange)
    threads: dict[int, bytes] = {}
    asked = [b"qfThreadInfo"] + [b"qsThreadInfo"] * 63  # a thread a packet, then `l`
    while len(threads) < _MOST_VCPUS:
        replies = exchange(asked).replies
        names = [name for reply in replies if reply[:1] == b"m" for name in reply[1:].split(b",")]
        for name in names:
            if (match := _THREAD.fullmatch(name)) is None:
                raise ProtocolError(f"the stub names a thread {name!r}")
            # Threads are numbered over all clusters: cpu_index + 1 (gdbstub/system.c).
            threads[int(match[2], 16) - 1] = name
        if replies[-1][:1] != b"m":
            break
        asked = asked[1:]
    if not threads:
        raise ProtocolError("the stub lists no vcpus")
    return tuple(Vcpu(index, thread) for index, thread in sorted(threads.items()))


def _attach_clusters(exchange: Callable[[Sequence[bytes]], Exchange]) -> None:
    """Attach to every cluster of vcpus; a client starts with the first alone."""
    for process in range(2, _MOST_VCPUS):
        # Its reply is a report of a stop as well, so it must not come first.
        if not is_stop(exchange([b"qC", b"vAttach;%x" % process]).replies[1]):
            return
