"""The codec: what goes in comes out, and nothing a stub sends breaks it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import ProtocolError
from gprof.guest.rsp import LONGEST_PACKET, Decoder, is_error, is_exit, is_stop, packet


def test_a_packet_has_the_checksum_of_the_manual() -> None:
    assert packet(b"qC") == b"$qC#b4"
    assert packet(b"c") == b"$c#63"


@given(st.lists(st.binary(max_size=60), max_size=5), st.integers(1, 7))
def test_packets_come_out_as_they_went_in_however_they_are_cut(
    payloads: list[bytes], step: int
) -> None:
    wire = b"+".join(packet(payload) for payload in payloads)
    decoder = Decoder()
    found = [
        payload
        for at in range(0, len(wire), step)
        for payload in decoder.feed(wire[at : at + step])
    ]
    assert found == payloads


@given(st.binary(max_size=300))
def test_any_bytes_are_packets_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Decoder().feed(data)


def test_runs_are_expanded() -> None:
    # "0* " is 0 and three more of it (space is 32, 32 - 29 = 3); GDB manual, "Packets".
    assert Decoder().feed(b"$0* #7a") == [b"0000"]


@pytest.mark.parametrize(
    "wire",
    [b"$qC#b5", b"HTTP/1.1 400", b"$a}#de", b"$* #4a", b"$qC#zz"],
    ids=["checksum", "other protocol", "cut escape", "run of nothing", "no checksum"],
)
def test_nonsense_is_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(wire)


def test_an_endless_packet_is_refused_before_it_fills_the_memory() -> None:
    decoder = Decoder()
    decoder.feed(b"$" + b"a" * (LONGEST_PACKET - 1))
    with pytest.raises(ProtocolError):
        decoder.feed(b"aa")


def test_a_run_cannot_grow_a_packet_without_bound() -> None:
    body = b"a" + b"*~" * 6000
    with pytest.raises(ProtocolError):
        Decoder().feed(b"$%b#%02x" % (body, sum(body) & 255))


def test_kinds_of_replies() -> None:
    assert is_error(b"E22")
    assert is_error(b"E.text")
    assert not is_error(b"E2201")  # four digits are two bytes of memory
    assert is_stop(b"T02thread:01;")
    assert is_exit(b"W00")
