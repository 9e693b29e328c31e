"""A guest of a real libvirt, sampled through it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.guest.libvirt import Domain, Libvirt
from gprof.guest.monitored import MonitoredMachine
from gprof.recording.reader import read
from tests.command_line import end, gprof, started
from tests.guests.libvirt_daemon import LibvirtDaemon, find_libvirt
from tests.guests.recordings import await_note, await_samples
from tests.waiting import wait_until


@pytest.fixture
def daemon(qemu: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[LibvirtDaemon]:
    if not find_libvirt():
        pytest.skip("libvirt is not installed (scripts/bootstrap --foreign)")
    with LibvirtDaemon() as daemon:
        monkeypatch.setenv("LIBVIRT_DEFAULT_URI", daemon.uri)
        yield daemon


def recording(daemon: LibvirtDaemon, path: Path) -> tuple[str | Path, ...]:
    symbols = ("--guestvmlinux", daemon.image)
    return ("record", "--domain", daemon.name, "-F", "100", *symbols, "-o", path)


def test_a_domain_is_sampled_without_being_stopped(daemon: LibvirtDaemon, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with started(*recording(daemon, path)) as process:
        await_samples(path, 800)  # of few, half of the time may be less than three tenths
        code, _, said = end(process, signal.SIGINT)
    assert code == 0
    assert "tainted" in said
    report = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    assert report["unresolved"] == {}
    assert report["rows"][0]["symbol"] == "checksum_blocks"
    facts = read(path).facts
    assert (facts.way, facts.halted_ns, facts.errors) == ("qmp", 0, 0)
    assert daemon.virsh("domstate", daemon.name, "--reason").split() == ["running", "(booted)"]


def test_what_libvirt_does_to_it_is_told(daemon: LibvirtDaemon, tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with started(*recording(daemon, path)) as process:
        await_samples(path, 50)
        daemon.virsh("suspend", daemon.name)
        await_note(path, "Somebody else has stopped the guest")
        daemon.virsh("resume", daemon.name)
        await_note(path, "The guest runs again")
        daemon.virsh("reset", daemon.name)
        await_note(path, "The guest was reset")
        daemon.virsh("destroy", daemon.name)
        code, _, said = end(process)
    assert code == 4
    assert "ended" in said
    assert len(read(path).samples) >= 50


def test_doctor_and_list_know_it(daemon: LibvirtDaemon) -> None:
    checks = json.loads(gprof("doctor", "--domain", daemon.name, "--json").stdout)["checks"]
    found = {check["name"]: check for check in checks}
    assert "tainted" in found["qmp"]["remedy"]
    assert found["guest"]["seen"].startswith("x86_64, 2 vcpus")
    guests = json.loads(gprof("list", "--json").stdout)["guests"]
    assert daemon.name in {guest["domain"] for guest in guests}
    assert f"--domain {daemon.name}" in gprof("list").stdout


def test_a_domain_that_is_not_there(daemon: LibvirtDaemon) -> None:
    done = gprof("record", "--domain", "none", code=4)
    assert "libvirt has no domain none" in done.stderr
    assert daemon.name in done.stderr


def test_a_stub_is_opened_in_it_and_closed(daemon: LibvirtDaemon) -> None:
    machine = MonitoredMachine(Libvirt(Domain(daemon.name)))
    assert machine.register("rip")
    machine.close()
    client = Libvirt(Domain(daemon.name))
    assert "gdb" not in {device["label"] for device in client.execute("query-chardev")}
    wait_until(lambda: client.execute("query-status")["running"], "a guest that runs")
    client.close()
