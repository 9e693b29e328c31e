"""Addresses as people write them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gprof.errors import ConnectionRefused, PermissionProblem, TargetError, UsageError
from gprof.guest.address import Address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:1234", ("", "localhost", 1234)),
        (":1234", ("", "localhost", 1234)),
        ("1234", ("", "localhost", 1234)),
        ("tcp:10.0.0.1:99", ("", "10.0.0.1", 99)),
        ("[::1]:1234", ("", "::1", 1234)),
        ("/run/vm/gdb", ("/run/vm/gdb", "", 0)),
        ("unix:gdb.sock,server=on,wait=off", ("gdb.sock", "", 0)),
        ("gdb.sock", ("gdb.sock", "", 0)),
    ],
)
def test_forms(text: str, expected: tuple[str, str, int]) -> None:
    address = Address.parse(text)
    assert (address.path, address.host, address.port) == expected


@pytest.mark.parametrize("text", ["host:", "host:0", "host:65536", "host:http", "", "unix:"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError):
        Address.parse(text)


def connected(address: Address) -> None:
    with address.open_socket() as connection:
        address.connect(connection)


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    with pytest.raises(ConnectionRefused, match="nothing accepts") as caught:
        connected(Address.parse(f"127.0.0.1:{free}"))
    assert "-s" in caught.value.remedy
    with pytest.raises(TargetError):
        connected(Address.parse("no.such.host.invalid:1234"))
    plain = tmp_path / "file"
    plain.write_text("")
    with pytest.raises((ConnectionRefused, PermissionProblem)):
        connected(Address.parse(str(plain)))
