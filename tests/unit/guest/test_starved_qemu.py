"""A QEMU that gets no processor for a while is neither busy nor gone, and its guest runs after."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from gprof.errors import StubBusy
from gprof.guest import guard, lazy_stub
from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.lazy_stub import LazyStub
from gprof.guest.qmp import Qmp
from tests.qmp_model import QmpModel
from tests.socket_model import SocketModel
from tests.stub_model import StubModel
from tests.waiting import PATIENCE

#: What a crowded host does to a process now and then.
AWAY_S = 2.5


@contextmanager
def away(model: SocketModel) -> Iterator[None]:
    """For a while from now on the model looks at nothing that is sent to it."""
    gone, back = threading.Event(), threading.Event()

    def stay() -> None:
        with model._lock:
            gone.set()
            back.wait(AWAY_S)

    thread = threading.Thread(target=stay)
    thread.start()
    assert gone.wait(PATIENCE)
    try:
        yield
    finally:
        back.set()
        thread.join(PATIENCE)


def test_a_stub_is_waited_for(tmp_path: Path) -> None:
    model = StubModel(tmp_path / "gdb")
    with away(model):
        stub = Stub(Address.parse(str(model.path)))
    with away(model):
        assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]
    stub.close()
    assert model.soon_runs()
    model.close()


def test_a_monitor_is_waited_for(tmp_path: Path) -> None:
    model = QmpModel(tmp_path / "qmp")
    with away(model):
        client = Qmp(Address.parse(str(model.path)))
    assert client.execute("query-status")["running"]
    client.close()
    model.close()


class LateAnswer:
    """A connection on which the answer comes after minutes."""

    def __init__(self) -> None:
        self.limit = 0.0
        self.heard = b""
        self.answered = False

    def settimeout(self, seconds: float) -> None:
        self.limit = seconds

    def sendall(self, data: bytes) -> None:
        self.heard += data

    def recv(self, size: int) -> bytes:
        if self.limit < 300:
            raise TimeoutError
        self.answered = True
        return b"$QCp01.01#d4"


def test_the_guard_stays_until_the_guest_was_let_go() -> None:
    orders, ours = os.pipe()
    os.close(ours)  # gprof is gone
    connection = LateAnswer()
    guard.watch(orders, cast("socket.socket", connection))
    os.close(orders)
    assert connection.heard == guard.FAREWELL
    assert connection.answered


def said_of_stub(*names: str) -> Callable[[object], list[dict[str, str]]]:
    """What a monitor says of the stub's connection, one after the other, the last for ever."""
    left = list(names)

    def say(_: object) -> list[dict[str, str]]:
        return [{"label": "gdb", "filename": left.pop(0) if len(left) > 1 else left[0]}]

    return say


def test_a_debugger_that_is_just_leaving_is_let_go(tmp_path: Path) -> None:
    stub, model = StubModel(tmp_path / "gdb"), QmpModel(tmp_path / "qmp")
    taken, free = f"unix:{stub.path},server=on", f"disconnected:unix:{stub.path},server=on"
    model.commands["query-chardev"] = said_of_stub(taken, taken, free)
    client = Qmp(Address.parse(str(model.path)))
    lazy = LazyStub(client)
    assert lazy.machine().stub.vcpus
    lazy.close()
    client.close()
    assert stub.soon_runs()
    stub.close()
    model.close()


def test_a_debugger_that_stays_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lazy_stub, "_BETWEEN_LOOKS_S", 0.0)
    model = QmpModel(tmp_path / "qmp")
    model.commands["query-chardev"] = said_of_stub("unix:/run/gdb,server=on")
    client = Qmp(Address.parse(str(model.path)))
    with pytest.raises(StubBusy, match="somebody else is connected"):
        LazyStub(client).machine()
    client.close()
    model.close()
