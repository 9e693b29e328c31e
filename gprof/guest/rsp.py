"""The GDB remote serial protocol as a pure codec: bytes in, packets out, no sockets.

Source of the format: the GDB manual, appendix "GDB Remote Serial Protocol". Only what QEMU's
stub speaks is understood: packets, acknowledgements, run-length coding, escapes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gprof.errors import ProtocolError

#: The byte that asks a running target to stop. It stands outside any packet.
INTERRUPT = b"\x03"

#: No reply that we ask for is longer: QEMU's largest packet is 131104 bytes (10.2 and later),
#: twice that in hexadecimal, and run-length coding only shortens it on the wire.
LONGEST_PACKET = 1 << 19

#: Up to this Python adds faster than it calls numpy.
_SHORT = 2000

#: Requests that are asked again and again while a guest stands.
_REMEMBERED = 1024

_NEEDS_ESCAPE = frozenset(b"#$}*")


@lru_cache(_REMEMBERED)
def packet(payload: bytes) -> bytes:
    """A packet ready to be sent: `$payload#checksum`, escaped where it must be."""
    if not _NEEDS_ESCAPE.isdisjoint(payload):
        escaped = bytearray()
        for byte in payload:
            escaped += bytes((0x7D, byte ^ 0x20)) if byte in _NEEDS_ESCAPE else bytes((byte,))
        payload = bytes(escaped)
    return b"$%b#%02x" % (payload, sum(payload) & 0xFF)


class Decoder:
    """Cuts a stream of bytes into the payloads of packets.

    Acknowledgements (`+`, `-`) are skipped: over a reliable stream they carry nothing, and QEMU
    never waits for ours.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of all packets that are complete with this data, decoded.

        Raises:
            ProtocolError: bytes that no stub sends: junk between packets, a wrong checksum, or
                a packet longer than `LONGEST_PACKET`.
        """
        self._pending += data
        payloads = []
        at = 0
        while at < len(self._pending):
            byte = self._pending[at]
            if byte in b"+-":
                at += 1
                continue
            if byte != 0x24:  # "$"
                junk = bytes(self._pending[at : at + 32])
                raise ProtocolError(f"the stub sent {junk!r} where a packet should begin")
            end = self._pending.find(b"#", at)
            if end < 0 or end + 3 > len(self._pending):
                if len(self._pending) - at > LONGEST_PACKET:
                    raise ProtocolError(f"the stub sent a packet of more than {LONGEST_PACKET} B")
                break
            payloads.append(_decoded(self._pending[at + 1 : end], self._pending[end + 1 : end + 3]))
            at = end + 3
        del self._pending[:at]
        return payloads


def _decoded(body: bytearray, checksum: bytearray) -> bytes:
    try:
        expected = int(checksum.decode("ascii"), 16)
    except ValueError:
        raise ProtocolError(f"the stub sent the checksum {bytes(checksum)!r}") from None
    found = _checksum(body)
    if found != expected:
        raise ProtocolError(
            f"a packet of the stub has the checksum {found:02x}, not {expected:02x}"
        )
    if 0x7D not in body and 0x2A not in body:  # "}" and "*"
        return bytes(body)
    plain = bytearray()
    at = 0
    while at < len(body):
        byte = body[at]
        if byte == 0x7D:  # an escaped byte follows
            if at + 1 == len(body):
                raise ProtocolError("a packet of the stub ends inside an escape")
            plain.append(body[at + 1] ^ 0x20)
            at += 2
        elif byte == 0x2A:  # the byte before is repeated so often
            if not plain or at + 1 == len(body) or body[at + 1] < 29:
                raise ProtocolError("a packet of the stub has a run without a byte or a length")
            plain += plain[-1:] * (body[at + 1] - 29)
            at += 2
        else:
            plain.append(byte)
            at += 1
        if len(plain) > LONGEST_PACKET:
            raise ProtocolError(f"the stub sent a packet of more than {LONGEST_PACKET} B")
    return bytes(plain)


def _checksum(body: bytes | bytearray) -> int:
    """The sum of all bytes. Of a piece of memory it has to be fast: a guest may stand meanwhile."""
    if len(body) < _SHORT:
        return sum(body) & 0xFF
    return int(np.frombuffer(body, np.uint8).sum(dtype=np.uint32)) & 0xFF


def is_error(payload: bytes) -> bool:
    """Whether a reply says that a request failed: `E` and two digits, or `E.` and a text."""
    return (len(payload) == 3 and payload[:1] == b"E") or payload[:2] == b"E."


def is_stop(payload: bytes) -> bool:
    """Whether a packet says that the target stopped (`T…`, `S…`)."""
    return payload[:1] in (b"T", b"S")


def is_exit(payload: bytes) -> bool:
    """Whether a packet says that the target is gone (`W…`, `X…`)."""
    return payload[:1] in (b"W", b"X")
