"""What can happen to a guest while it is sampled: the right words, a whole recording, the code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.recording.reader import read
from tests.guests.recorded_demo import WAYS, recorded_demo
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor

pytestmark = pytest.mark.usefixtures("qemu")

#: The sentence of a stub that was stopped by somebody: it does not know by whom.
_BY_SOMEBODY = "Somebody else has stopped the guest"


def process_of(monitor: Monitor) -> int:
    thread = monitor.execute("query-cpus-fast")[0]["thread-id"]
    status = Path(f"/proc/{thread}/status").read_text()
    found = re.search(r"^Tgid:\s+(\d+)$", status, re.MULTILINE)
    assert found is not None
    return int(found[1])


def order(monitor: Monitor, command: str) -> None:
    """Have the monitor for people carry something out."""
    said = monitor.human(command)
    assert not said.strip(), said


@pytest.mark.parametrize("way", WAYS)
def test_qemu_is_killed(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        os.kill(process_of(run.monitor), signal.SIGKILL)
        code, said = run.ended(None)
    assert code == 4
    assert "ended" in said
    assert "what was recorded until now is complete" in said
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_qemu_is_told_to_quit(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        with contextlib.suppress(OSError):  # it may be gone before it answers
            run.monitor.execute("quit")
        code, said = run.ended(None)
    assert code == 4
    assert "ended" in said or (way != "stub" and "shut down" in said)
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_the_guest_shuts_down_and_qemu_ends(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way, qemu=("-no-reboot",)) as run:
        with contextlib.suppress(OSError):  # QEMU may be gone before it answers
            run.monitor.execute("system_reset")
        code, said = run.ended(None)
    assert code == 4
    assert "shut down" in said
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_the_guest_shuts_down_and_qemu_stays(tmp_path: Path, way: str) -> None:
    stays = ("-no-reboot", "-no-shutdown")
    with recorded_demo(tmp_path / "x.gprof", way, qemu=stays) as run:
        run.have_it_stand(
            lambda: run.monitor.execute("system_reset"),
            _BY_SOMEBODY if way == "stub" else "has shut down, and its QEMU stays",
        )
        assert run.ended()[0] == 0
        assert run.monitor.execute("query-status")["status"] == "shutdown"
    assert run.is_whole()


def test_a_sample_that_was_on_its_way_when_the_guest_shut_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with WatchedDemo("-no-reboot", "-no-shutdown") as guest, Monitor(guest.other_address) as other:
        stub = Stub(Address.parse(guest.gdb_address))
        with monkeypatch.context() as patch:
            patch.setattr(stub._dialogue, "other_stop", lambda: False)  # it has looked before
            other.execute("system_reset")
            other.await_status("shutdown")
            assert stub.exchange([b"qC"]).replies == [b"QCp01.01"]
        assert stub.held
        assert not stub.released()
        stub.close()
        assert other.execute("query-status")["status"] == "shutdown"


def test_a_shutdown_of_which_nothing_comes_is_told(tmp_path: Path) -> None:
    stays = ("-no-reboot", "-no-shutdown")
    with recorded_demo(tmp_path / "x.gprof", "monitor", qemu=stays) as run:
        before = len(run.monitor.events)
        stub = Stub(Address.parse(run.guest.gdb_address))
        with stub.stopped() as stop:
            stop.ask([b"qC"])
            run.monitor.execute("system_reset")
            run.monitor.await_event("SHUTDOWN", since=before)
        stub.close()
        run.await_note("The guest has shut down and runs on")
        assert run.monitor.is_running()
        run.await_more(50)
        os.kill(process_of(run.monitor), signal.SIGKILL)
        code, said = run.ended(None)
    assert code == 4
    assert "ended" in said
    assert "the guest has shut down, and QEMU ended" not in said
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_the_kernel_panics(tmp_path: Path, way: str) -> None:
    device = ("-device", "pvpanic,ioport=1285", "-action", "panic=pause")
    with recorded_demo(tmp_path / "x.gprof", way, qemu=device) as run:
        run.have_it_stand(
            # What a panicking kernel does (docs/specs/pvpanic).
            lambda: order(run.monitor, "o /b 1285 1"),
            _BY_SOMEBODY if way == "stub" else "kernel has panicked",
        )
        assert run.ended()[0] == 0
        # In the moment of a sample the stub has let it go, seen that, and stopped it again.
        assert run.monitor.execute("query-status")["status"] in {"guest-panicked", "paused"}
    assert "GUEST_PANICKED" in {event.name for event in run.monitor.events}
    assert run.is_whole()


def test_the_guest_sleeps(tmp_path: Path) -> None:
    with recorded_demo(tmp_path / "x.gprof", "monitor") as run:
        # SLP_EN and SLP_TYP of S3 into PM1a_CNT, where the firmware has put it (ACPI, 4.8.3.2).
        order(run.monitor, "o /w 0x604 0x2400")
        run.await_note("The guest sleeps")
        assert run.ended()[0] == 0
        assert run.monitor.execute("query-status")["status"] == "suspended"
    assert "SUSPEND" in {event.name for event in run.monitor.events}
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_somebody_stops_it_and_lets_it_go(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        # A sample that is on its way lets it go for a moment, which gprof's word ends.
        run.have_it_stand(lambda: run.monitor.execute("stop"), _BY_SOMEBODY)
        run.watch_it_stand()
        run.monitor.execute("cont")
        run.await_note("The guest runs again")
        run.await_more(100)
        code, said = run.ended()
        assert code == 0
        assert run.monitor.is_running()
    assert _BY_SOMEBODY in said
    assert "The guest runs again" in said
    assert read(run.path).facts.held_ns > 0
    if way == "monitor":
        assert [event.name for event in run.monitor.events] == ["STOP", "RESUME"]
    assert run.is_whole()


@pytest.mark.parametrize("way", WAYS)
def test_ended_while_it_stands_it_stays_so(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        run.have_it_stand(lambda: run.monitor.execute("stop"), _BY_SOMEBODY)
        assert run.ended(signal.SIGTERM)[0] == 0
        assert not any(run.monitor.is_running() for _ in range(1000))
    assert run.is_whole()


@pytest.mark.parametrize("way", ["monitor", "both"])
def test_a_reset_is_told(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        run.monitor.execute("system_reset")
        run.await_note("The guest was reset")
        run.await_more(100)
        assert run.ended()[0] == 0
        assert run.monitor.is_running()
    assert run.is_whole()


@pytest.mark.parametrize("way", ["monitor", "both"])
def test_what_has_moved_elsewhere_is_not_woken(tmp_path: Path, way: str) -> None:
    with recorded_demo(tmp_path / "x.gprof", way) as run:
        # No sample may be on its way when it leaves: a guest as small as this one takes
        # milliseconds, a process that gets no processor longer.
        run.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 100_000})
        run.monitor.execute("migrate", uri=f"exec:cat >{tmp_path}/moved")
        run.await_note("is being migrated")
        run.monitor.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
        run.await_note("runs elsewhere")
        # A second copy that ran here would be the worst that we could do.
        for _ in range(200):
            assert run.monitor.execute("query-status")["status"] == "postmigrate"
        assert run.ended()[0] == 0
        assert run.monitor.execute("query-status")["status"] == "postmigrate"
    assert run.is_whole()


def test_a_stub_alone_does_not_wake_what_has_moved(tmp_path: Path) -> None:
    with recorded_demo(tmp_path / "x.gprof", "stub") as run:
        # As whoever migrates without a break in service would not.
        run.have_it_stand(lambda: run.monitor.execute("stop"), _BY_SOMEBODY)
        run.monitor.execute("migrate", uri=f"exec:cat >{tmp_path}/moved")
        run.monitor.await_status("postmigrate")
        assert run.ended()[0] == 0
        assert run.monitor.execute("query-status")["status"] == "postmigrate"
    assert run.is_whole()
