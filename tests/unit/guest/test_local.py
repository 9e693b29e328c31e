"""Finding the guests of a host by the command lines of their processes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import UsageError
from gprof.guest.address import Address
from gprof.guest.local import LocalGuest, listens, local_guests, read_command_line

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:04D2 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 81
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 82
"""


@pytest.mark.parametrize(
    ("line", "name", "gdb", "qmp"),
    [
        ("-m 16", "", [], []),
        ("-s -S -name web1", "web1", ["localhost:1234"], []),
        ("--gdb tcp:127.0.0.1:9000,server=on -name guest=db,debug-threads=on", "db",
         ["127.0.0.1:9000"], []),
        ("-gdb tcp:0.0.0.0:1235", "", ["localhost:1235"], []),
        ("-gdb unix:run/g,server=on,wait=off -qmp unix:/tmp/a,,b/q,server,nowait", "",
         ["/srv/run/g"], ["/tmp/a,b/q"]),
        ("-qmp-pretty tcp:localhost:4444,server=on", "", [], ["localhost:4444"]),
        ("-mon chardev=m,mode=control -chardev socket,id=m,path=/run/m,server=on", "", [],
         ["/run/m"]),
        ("-chardev socket,id=m,fd=27,server=on -mon chardev=m,id=monitor,mode=control", "", [], []),
        ("-chardev socket,id=g,host=::1,port=5 -gdb chardev:g", "", ["::1:5"], []),
        ("-mon chardev=h,mode=readline -chardev socket,id=h,path=/run/h", "", [], []),
        ("-qmp stdio -gdb stdio -qmp", "", [], []),
        ("-qmp unix:/1 -qmp unix:/2", "", [], ["/1", "/2"]),
    ],
)  # fmt: skip
def test_command_lines(line: str, name: str, gdb: list[str], qmp: list[str]) -> None:
    words = ["/usr/bin/qemu-system-x86_64", *line.split()]
    found = read_command_line(7, words, Path("/srv"))
    assert found == LocalGuest(7, "qemu-system-x86_64", name, tuple(gdb), tuple(qmp))
    assert found.reachable is bool(gdb or qmp)


def test_a_guest_of_libvirt_is_known_by_its_monitor() -> None:
    line = (
        "-name guest=mail,debug-threads=on -chardev socket,id=charmonitor,fd=20,server=on,wait=off "
        "-mon chardev=charmonitor,id=monitor,mode=control"
    )
    found = read_command_line(7, ["/usr/bin/qemu-system-x86_64", *line.split()])
    assert (found.domain, found.qmp, found.reachable) == ("mail", (), True)


def test_processes_that_are_no_qemu_or_ended_are_passed_over(tmp_path: Path) -> None:
    for pid, words in (
        ("10", ["qemu-system-aarch64", "-s"]),
        ("9", ["/usr/libexec/qemu-kvm", "-name", "\x1b[31m"]),
        ("11", ["/bin/sh", "-c", "qemu-system-x86_64 -s"]),
        ("12", [""]),
        ("self", ["qemu-system-x86_64"]),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes("\0".join(words).encode() + b"\0")
    (tmp_path / "13").mkdir()
    assert [(guest.pid, guest.gdb) for guest in local_guests(tmp_path)] == [
        (9, ()), (10, ("localhost:1234",)),
    ]  # fmt: skip


def test_ports_that_are_listened_at() -> None:
    assert listens(1234, TCP)
    assert not listens(8080, TCP)  # connected, not listening
    assert not listens(1235, TCP)
    assert not listens(1234, "")


WORDS = st.lists(
    st.text(max_size=12)
    | st.sampled_from(["-gdb", "-qmp", "-mon", "-chardev", "-name", "-s", "unix:x", "tcp::1",
                       "tcp:", "chardev:m", "socket,id=m", "socket,id=m,port=", ",,,", "id="]),
    min_size=1, max_size=10,
)  # fmt: skip


@given(WORDS)
def test_any_command_line_gives_a_guest(words: list[str]) -> None:
    found = read_command_line(1, words)
    for address in (*found.gdb, *found.qmp):
        with contextlib.suppress(UsageError):  # as wrong as what QEMU was given
            Address.parse(address)
