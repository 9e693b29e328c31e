"""The connection to a stub: however it goes, the guest runs afterwards as it ran before."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.errors import ConnectionRefused, NotAStub, StubBusy, TargetGone, UsageError
from gprof.guest import greeting
from gprof.guest.address import Address
from gprof.guest.dialogue import monitor_command
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from symbols.memory import MemoryFault
from tests.stub_model import StubModel
from tests.waiting import PATIENCE, wait_until

VERSIONS = ["7.2.22", "10.1.0"]


@pytest.fixture(params=VERSIONS)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb", version=request.param)
    yield model
    model.close()


def connect(model: StubModel) -> Stub:
    return Stub(Address.parse(str(model.path)))


def test_greeting_learns_the_machine_and_lets_it_run(model: StubModel) -> None:
    stub = connect(model)
    assert [vcpu.thread for vcpu in stub.vcpus] == [b"p01.01", b"p01.02"]
    assert stub.packet_size == 0x1000
    assert stub.accelerated is False
    assert not stub.held
    assert model.soon_runs()
    stub.close()
    assert model.soon_runs()


def test_an_exchange_answers_in_order_and_resumes(model: StubModel) -> None:
    stub = connect(model)
    stops = model.stops
    replies = stub.exchange([b"Hgp01.02", b"g", monitor_command("info status"), b"qC"]).replies
    assert replies[0] == b"OK"
    assert replies[2] == b"VM status: paused\r\n"
    assert replies[3] == b"QCp01.01"
    assert model.soon_runs()
    assert model.stops == stops + 1
    stub.close()


def test_many_requests_are_divided_over_stops_of_one_write_each(model: StubModel) -> None:
    stub = connect(model)
    stops = model.stops
    replies = stub.exchange([b"Hgp01.01"] * 1000).replies
    assert replies == [b"OK"] * 1000
    assert 2 < model.stops - stops < 10
    assert model.soon_runs()
    stub.close()


def test_a_sample_has_pc_and_mode_of_every_vcpu(model: StubModel) -> None:
    model.halted = {1}
    machine = Machine(connect(model))
    _, sampled = machine.sample(machine.vcpus)
    assert [one.state.pc for one in sampled if one.state] == model.pcs
    assert [one.state.mode for one in sampled if one.state] == [Mode.KERNEL, Mode.IDLE]
    machine.stub.close()


def test_a_refused_vcpu_gives_nothing_instead_of_its_neighbours_registers(
    model: StubModel,
) -> None:
    machine = Machine(connect(model))
    model.refused_threads = {1}
    _, sampled = machine.sample(machine.vcpus)
    assert sampled[0].state is not None
    assert sampled[1].state is None
    machine.stub.close()


def test_a_vcpu_that_does_not_exist_is_named(model: StubModel) -> None:
    machine = Machine(connect(model))
    with pytest.raises(UsageError, match="no vcpu 5"):
        machine.choose([0, 5])
    machine.stub.close()


def test_a_guest_stopped_by_somebody_else_stays_stopped(model: StubModel) -> None:
    stub = connect(model)
    model.stop_by_other()
    wait_until(stub.other_stop, "the stop")
    assert not stub.released()
    assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]  # reading it as it is
    assert not model.running
    model.resume_by_other()
    if not stub.released():
        pytest.fail("a guest that runs again was not noticed")
    assert model.soon_runs()
    assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]
    assert model.soon_runs()
    stub.close()
    assert model.soon_runs()


def test_closing_leaves_a_guest_stopped_that_somebody_else_has_stopped(model: StubModel) -> None:
    stub = connect(model)
    model.stop_by_other()
    wait_until(stub.other_stop, "the stop")
    stub.close()
    assert not eventually_running(model)


def eventually_running(model: StubModel) -> bool:
    time.sleep(0.05)  # nothing is awaited: the point is that nothing comes
    return model.running


def test_a_stop_of_theirs_that_is_reported_after_our_look_is_put_back(model: StubModel) -> None:
    stub = connect(model)
    assert model.soon_runs()
    model.stop_on_arrival = True
    assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]
    assert stub.held
    assert not model.running
    model.resume_by_other()
    assert stub.released()
    assert model.soon_runs()
    model.stop_on_arrival = True
    stub.close()
    assert not eventually_running(model)


@pytest.mark.parametrize(
    ("version", "status"), [("7.2.22", "paused"), ("10.1.0", "paused (prelaunch)")]
)
def test_a_guest_found_stopped_stays_so(tmp_path: Path, version: str, status: str) -> None:
    model = StubModel(tmp_path / "gdb", running=False, version=version)
    model.status = status
    stub = connect(model)
    assert stub.held
    assert not model.running
    assert not stub.released()
    stub.close()
    assert not model.running
    model.close()


def test_memory_is_read_by_pages_and_faults_where_there_is_none(model: StubModel) -> None:
    page = bytes(range(256)) * 16
    model.memory = {0xFFFF_FFFF_8100_0: page, 0xFFFF_FFFF_8100_1: page[::-1]}
    stub = connect(model)
    memory = Machine(stub).memory
    assert memory.read(0xFFFF_FFFF_8100_0FFE, 4) == page[-2:] + page[::-1][:2]
    assert memory.readable([0xFFFF_FFFF_8100_0000, 0x1000]) == [True, False]
    with pytest.raises(MemoryFault):
        memory.read(0xFFFF_FFFF_8100_1FFF, 2)
    assert model.soon_runs()
    stub.close()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefused, match="no socket") as caught:
        Stub(Address.parse(str(tmp_path / "nothing")))
    assert "-gdb unix:" in caught.value.remedy


def test_a_busy_stub_is_left_running(model: StubModel, monkeypatch: pytest.MonkeyPatch) -> None:
    first = connect(model)
    with monkeypatch.context() as patched:
        patched.setattr(greeting, "GREETING_LIMIT", 0.2)
        with pytest.raises(StubBusy, match="another debugger"):
            connect(model)
    first.close()  # now the model takes up the second connection, which is closed already
    assert model.soon_runs()
    third = connect(model)
    third.close()
    assert model.soon_runs()


def test_a_guest_that_shut_down_after_our_look_stands(model: StubModel) -> None:
    stub = connect(model)
    assert model.soon_runs()
    model.stop_on_arrival = model.needs_reset = True
    assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]
    assert stub.held
    assert not stub.released()
    model.needs_reset = False
    model.resume_by_other()
    assert stub.released()
    assert model.soon_runs()
    model.stop_on_arrival = model.needs_reset = True
    stub.close()
    assert not eventually_running(model)


def test_something_that_is_no_stub(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.sendall(b'{"QMP": {}}\r\n')
                client.recv(4096)

        server = threading.Thread(target=greet)
        server.start()
        with pytest.raises(NotAStub, match="no gdbstub"):
            Stub(Address.parse(str(tmp_path / "qmp")))
        server.join(PATIENCE)


def test_a_stub_that_goes_away(model: StubModel) -> None:
    stub = connect(model)
    model.close()
    with pytest.raises(TargetGone):
        stub.exchange([b"qC"])
    stub.close()


KILLED = """
import os, signal, sys
from gprof.guest import connection
from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub

moment = sys.argv[2]
if moment == "connected":  # the instant between connecting and the first write
    connection.Connection.send = lambda self, data: os.kill(os.getpid(), signal.SIGKILL)
stub = Stub(Address.parse(sys.argv[1]))
if moment == "asked":  # a stop that is not resumed in the same write
    stub._connection.send(b"\\x03")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["connected", "asked", "idle"])
def test_the_guest_runs_when_we_are_killed(model: StubModel, moment: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(model.path), moment],
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert killed.returncode == -signal.SIGKILL
    wait_until(lambda: model._client is None, "the end of the guard's connection")
    assert model.soon_runs()
