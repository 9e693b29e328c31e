"""The monitor's client against a model of the monitor, and against nonsense."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gprof.errors import ConnectionRefused, NotAStub, ProtocolError, StubBusy, TargetGone
from gprof.guest import qmp
from gprof.guest.address import Address
from gprof.guest.monitor import CommandRefused
from gprof.guest.qmp import Qmp
from symbols.errors import GprofError
from tests.qmp_model import QmpModel
from tests.stub_model import StubModel
from tests.waiting import PATIENCE, Deadline


@pytest.fixture
def model(tmp_path: Path) -> Iterator[QmpModel]:
    model = QmpModel(tmp_path / "qmp")
    yield model
    model.close()


@pytest.fixture
def client(model: QmpModel) -> Iterator[Qmp]:
    client = Qmp(Address.parse(str(model.path)))
    yield client
    client.close()


def test_commands_and_their_answers(model: QmpModel, client: Qmp) -> None:
    assert client.version == (7, 2, 22)
    assert client.execute("query-status")["status"] == "running"
    assert client.human_monitor("info registers -a").splitlines()[1] == "CPU#0"
    assert model.seen == ["qmp_capabilities", "query-status", "info registers -a"]
    assert client.peer() == (os.getpid(), os.getuid())


def test_arguments_have_the_names_of_the_protocol(model: QmpModel, client: Qmp) -> None:
    model.commands["human-monitor-command"] = json.dumps
    told = json.loads(client.human_monitor("x", cpu_index=1))
    assert told == {"command-line": "x", "cpu-index": 1}


def test_a_refusal_has_the_reason(client: Qmp) -> None:
    with pytest.raises(CommandRefused, match="nonsense has not been found"):
        client.execute("nonsense")
    assert client.execute("query-status")["running"]


def test_events_wait_until_they_are_fetched(model: QmpModel, client: Qmp) -> None:
    model.report("STOP", 1_500_000)
    model.report("RESET", 1_700_001, guest=True)
    client.execute("query-status")
    model.report("RESUME", 2_000_000)
    found = client.events()
    deadline = Deadline("3 events", lambda: found)
    while len(found) < 3:
        deadline.check()
        found += client.events(wait_s=10)
    assert [(event.name, event.time_us) for event in found] == [
        ("STOP", 1_500_000), ("RESET", 1_700_001), ("RESUME", 2_000_000),
    ]  # fmt: skip
    assert found[1].data == {"guest": True}
    assert client.events() == []


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    model: QmpModel, client: Qmp
) -> None:
    model.send({"return": "of a command long given up", "id": 0})
    assert client.execute("query-status")["running"]


def test_the_last_events_are_heard_before_the_end(model: QmpModel, client: Qmp) -> None:
    model.report("SHUTDOWN")
    model.close()
    assert [event.name for event in client.events(wait_s=10)] == ["SHUTDOWN"]
    with pytest.raises(TargetGone, match="QEMU closed it"):
        client.events(wait_s=10)
    with pytest.raises(TargetGone):
        client.execute("query-status")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefused, match=r"a QMP monitor .* no socket") as refused:
        Qmp(Address.parse(str(tmp_path / "none")))
    assert "-qmp" in refused.value.remedy


def test_a_second_client_is_told_that_there_is_a_first(
    model: QmpModel, client: Qmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "GREETING_LIMIT", 0.05)
    monkeypatch.setattr(qmp, "FAREWELL_LIMIT", 0.05)
    with pytest.raises(StubBusy, match="one client at a time"):
        Qmp(Address.parse(str(model.path)))
    assert client.execute("query-status")["running"]


def test_silence_after_the_greeting_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "ANSWER_LIMIT", 0.05)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "qmp"))
        listener.listen()

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b'{"QMP":{"version":{"qemu":{"major":9,"minor":0,"micro":0}}}}\n')
                while peer.recv(4096):
                    pass

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ProtocolError, match="did not answer"):
            Qmp(Address.parse(str(tmp_path / "qmp")))
        thread.join(PATIENCE)


@pytest.mark.parametrize("version", ["7.2.22", "10.1.0"])
def test_a_stub_that_is_taken_for_a_monitor_lets_its_guest_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(qmp, "GREETING_LIMIT", 0.2)
    stub = StubModel(tmp_path / "gdb", version=version)
    with pytest.raises((StubBusy, NotAStub), match="monitor"):
        Qmp(Address.parse(str(stub.path)))
    stub.close()
    assert stub.stops == 1  # by connecting
    assert stub.running


@pytest.mark.parametrize(
    "greeting",
    [b"QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ", b"{}\n", b"[1]\n",
     b'{"QMP":{"version":{"qemu":{"major":"x"}}}}\n', b'{"QMP":3}\n', b"\xff\xfe\n",
     b"{" * 10_000 + b"\n"],
    ids=range(7),
)  # fmt: skip
def test_other_programs_are_no_monitors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes
) -> None:
    monkeypatch.setattr(qmp, "FAREWELL_LIMIT", 0.05)
    model = QmpModel(tmp_path / "qmp", greeting=greeting)
    with pytest.raises(NotAStub, match="no QMP monitor"):
        Qmp(Address.parse(str(model.path)))
    model.close()


def test_a_line_without_end_is_refused(
    model: QmpModel, client: Qmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "MOST_BYTES", 1000)
    model.send(b'{"event": "' + b"x" * 2000)
    with pytest.raises(ProtocolError, match="more than 1000 bytes"):
        client.events(wait_s=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
def test_anything_but_qmp_is_an_error_of_ours(
    model: QmpModel, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    client = Qmp(Address.parse(str(model.path)))
    try:
        model.send(said + b"\n")
        client.execute("query-status")
    except GprofError:
        pass
    finally:
        client.close()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["event", "timestamp", "seconds", "microseconds", "data", "id", "return"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=json_values)
def test_any_json_is_an_event_or_nothing_or_an_error(model: QmpModel, said: object) -> None:
    client = Qmp(Address.parse(str(model.path)))
    try:
        model.send(said if not isinstance(said, bytes) else {})
        client.execute("query-status")
        for event in client.events():
            assert isinstance(event.time_us, int)
            assert isinstance(event.data, dict)
    except GprofError:
        pass
    finally:
        client.close()
