"""Which guest is sampled where nobody says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from gprof.cli import finding
from gprof.cli.finding import find
from gprof.cli.list import command
from gprof.cli.options import LiveOptions, monitor_of
from gprof.errors import UsageError
from gprof.guest import local
from gprof.guest.address import Address
from gprof.guest.libvirt import Domain
from gprof.guest.local import LocalGuest

NOBODY = LiveOptions(None, 99.0, None, None, 1.0)
STUB = LocalGuest(10, "qemu-system-x86_64", "web1", ("/run/g",), ("/run/q",))
MONITOR = LocalGuest(11, "qemu-kvm", "db\x1b[31m", (), ("/run/q",))
CLOSED = LocalGuest(12, "qemu-kvm")
DOMAIN = LocalGuest(13, "qemu-system-x86_64", "mail\x1b[31m", domain="mail\x1b[31m")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    def guests(*found: LocalGuest, listening: bool = False) -> None:
        monkeypatch.setattr(finding, "local_guests", lambda: list(found))
        monkeypatch.setattr(local, "local_guests", lambda: list(found))
        monkeypatch.setattr(finding, "listens", lambda *_: listening)

    return guests


def test_what_is_given_is_taken(here: Any) -> None:
    here(STUB, MONITOR, listening=True)
    given = LiveOptions("host:1", 99.0, None, None, 1.0)
    assert find(given) is given


def test_the_usual_port_comes_first(here: Any) -> None:
    here(STUB, listening=True)
    assert find(NOBODY).gdb == "localhost:1234"


def test_the_only_guest_is_taken(here: Any, capsys: pytest.CaptureFixture[str]) -> None:
    here(STUB, CLOSED)
    assert (find(NOBODY).gdb, find(NOBODY).qmp) == ("/run/g", None)
    assert "Taking web1 (qemu-system-x86_64, process 10)" in capsys.readouterr().err
    here(MONITOR)
    assert (find(NOBODY).gdb, find(NOBODY).qmp) == (None, "/run/q")
    assert "\x1b" not in capsys.readouterr().err


def test_a_guest_of_libvirt_is_taken_by_name_only(here: Any) -> None:
    here(DOMAIN)
    with pytest.raises(UsageError, match="managed by libvirt") as refused:
        find(NOBODY)
    assert "--domain mail" in refused.value.remedy
    assert "\x1b" not in refused.value.remedy
    named = LiveOptions(None, 99.0, None, None, 1.0, domain="mail")
    assert find(named) is named
    assert named.monitor == Domain("mail")
    shown = CliRunner().invoke(command)
    assert "--domain mail" in shown.stdout
    assert "\x1b" not in shown.stdout + CliRunner().invoke(command, ["--json"]).stdout


def test_one_monitor_is_enough() -> None:
    with pytest.raises(UsageError, match="--qmp and --domain"):
        monitor_of("/run/q", "mail")
    assert monitor_of(None, None) is None
    assert monitor_of("/run/q", None) == Address.parse("/run/q")


def test_several_are_listed(here: Any) -> None:
    here(STUB, MONITOR)
    with pytest.raises(UsageError, match="2 guests run here") as refused:
        find(NOBODY)
    assert "--gdb /run/g   web1" in refused.value.remedy
    assert "--qmp /run/q" in refused.value.remedy


def test_none_leads_to_the_usual_port_and_its_error(here: Any) -> None:
    here()
    assert find(NOBODY).gdb == "localhost:1234"
    here(CLOSED)
    with pytest.raises(UsageError, match="process 12"):
        find(NOBODY)


def test_list(here: Any) -> None:
    here(STUB, MONITOR, CLOSED)
    shown = CliRunner().invoke(command)
    assert shown.exit_code == 0
    assert "--gdb /run/g" in shown.stdout
    assert "that could be reached" in shown.stdout
    assert "\x1b" not in shown.stdout
    as_json = json.loads(CliRunner().invoke(command, ["--json"]).stdout)
    assert as_json["guests"][0]["qmp"] == ["/run/q"]
    here()
    assert "No QEMU runs here" in CliRunner().invoke(command).stderr
