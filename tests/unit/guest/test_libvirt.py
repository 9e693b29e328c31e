"""The monitor behind libvirt, on a virsh that only pretends."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import (
    ConnectionRefused,
    GprofError,
    PermissionProblem,
    ProtocolError,
    TargetError,
    TargetGone,
    UsageError,
)
from gprof.guest import virsh
from gprof.guest.libvirt import Domain, Libvirt, read_event
from gprof.guest.monitor import CommandRefused, Event
from gprof.guest.virsh import quoted
from tests.waiting import Deadline

UUID = "0205b578-b77e-472c-9bb1-69bcf6afd95c"
VERSION = {"return": {"qemu": {"major": 7, "minor": 2, "micro": 22}, "package": "Debian"}}

#: Answers as `answers.json` beside it says, by the beginning of a command; echoes like readline.
PRETENDER = """#!{python}
import json, pathlib, sys, time
here = pathlib.Path(__file__).parent
answers = json.loads((here / "answers.json").read_text())
if "qemu-monitor-event" in sys.argv:
    for line in answers["events"]:
        print(line, flush=True)
    time.sleep(600)
if "start" in answers:
    sys.exit(answers["start"])
print("virsh # ", end="", flush=True)
for line in sys.stdin:
    with (here / "asked").open("a") as asked:
        asked.write(line)
    said = next((v for k, v in answers.items() if line.startswith(k)), "error: unknown command")
    if said == "hang":
        time.sleep(600)
    if said == "end":
        sys.exit(1)
    middle = len(line) // 2
    print(line[:middle] + "\\r" + line[middle - 1:] + said + "\\nvirsh # ", end="", flush=True)
"""


class Pretender:
    """A virsh on PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        program = directory / "virsh"
        program.write_text(PRETENDER.replace("{python}", sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self.answers: dict[str, Any] = {
            "events": [],
            '"domuuid"': UUID,
            '"list"': "web1\nd\x1b[31mb",
        }
        self.answer("query-version", VERSION)

    def answer(self, command: str, said: object) -> None:
        """What a command of QEMU is answered."""
        text = said if isinstance(said, str) else json.dumps(said)
        self.answers[f'"qemu-monitor-command" "{UUID}" "{{\\"execute\\": \\"{command}\\"'] = text

    def open(self, name: str = "web1") -> Libvirt:
        (self.directory / "answers.json").write_text(json.dumps(self.answers))
        return Libvirt(Domain(name))

    @property
    def asked(self) -> list[str]:
        return (self.directory / "asked").read_text().splitlines()


@pytest.fixture
def pretender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretender:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Pretender(tmp_path)


def test_commands_are_passed_on(pretender: Pretender) -> None:
    pretender.answer("query-status", {"return": {"running": True}, "id": "libvirt-1"})
    pretender.answer("human-monitor-command", {"return": "a\r\nb\r\n"})
    pretender.answer("stop", {"error": {"class": "GenericError", "desc": "no\x1b[31m"}})
    monitor = pretender.open()
    assert monitor.version == (7, 2, 22)
    assert monitor.execute("query-status") == {"running": True}
    assert monitor.human_monitor("info 'x'") == "a\nb\n"
    with pytest.raises(CommandRefused, match="QEMU refuses stop: no") as refused:
        monitor.execute("stop")
    assert "\x1b" not in refused.value.problem
    monitor.close()
    monitor.close()
    assert pretender.asked[0] == '"domuuid" "web1"'
    assert "tainted" in monitor.remark


def test_events(pretender: Pretender) -> None:
    pretender.answers["events"] = [
        "event STOP at 1795421261.253780 for domain 'web: 1': <null>",
        "noise",
        """event RESET at 1795421261.9 for domain 'x': {"guest":true,"reason":"guest-reset"}""",
    ]
    monitor = pretender.open()
    found = monitor.events(wait_s=60)
    deadline = Deadline("2 events", lambda: found)
    while len(found) < 2:
        deadline.check()
        found += monitor.events(wait_s=60)
    assert monitor.events() == []
    monitor.close()
    assert found == [
        Event("STOP", 1795421261253780, {}),
        Event("RESET", 1795421261900000, {"guest": True, "reason": "guest-reset"}),
    ]


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("error: failed to get domain 'web9'", TargetError, "libvirt has no domain web1"),
        ("error: failed to connect to the hypervisor\nerror: '/run/s': No such file",
         ConnectionRefused, "cannot be reached"),
        ("error: failed to connect to the hypervisor\nerror: '/run/s': Permission denied",
         PermissionProblem, "Permission denied"),
        ("error: authentication unavailable: no polkit agent", PermissionProblem, "polkit"),
        ("nothing like it", ProtocolError, "names no uuid"),
    ],
)  # fmt: skip
def test_why_a_domain_cannot_be_had(
    pretender: Pretender, said: str, error: type[GprofError], words: str
) -> None:
    pretender.answers['"domuuid"'] = said
    with pytest.raises(error, match=words) as refused:
        pretender.open()
    assert "\x1b" not in refused.value.remedy


def test_the_domains_that_run_are_named(pretender: Pretender) -> None:
    pretender.answers['"domuuid"'] = "error: failed to get domain"
    with pytest.raises(TargetError) as refused:
        pretender.open()
    assert "web1" in refused.value.remedy
    assert "LIBVIRT_DEFAULT_URI" in refused.value.remedy


def test_a_domain_that_does_not_run(pretender: Pretender) -> None:
    pretender.answer(
        "query-version", "error: Requested operation is not valid: domain is not running"
    )
    with pytest.raises(TargetError, match="web1 does not run") as refused:
        pretender.open()
    assert "virsh start" in refused.value.remedy


@pytest.mark.parametrize(
    "said",
    [
        "Requested operation is not valid: domain is not running",
        "Unable to read from monitor: Connection reset by peer",
        "internal error: End of file from qemu monitor",
    ],
)
def test_a_domain_that_ends(pretender: Pretender, said: str) -> None:
    pretender.answer("query-status", f"error: {said}")
    monitor = pretender.open()
    with pytest.raises(TargetGone, match="the domain ended"):
        monitor.execute("query-status")
    monitor.close()


def test_a_domain_that_is_forgotten_when_it_ends(pretender: Pretender) -> None:
    pretender.answer("query-status", "error: failed to get domain")
    monitor = pretender.open()
    with pytest.raises(TargetGone, match="web1 ended"):
        monitor.execute("query-status")
    monitor.close()


def test_libvirt_goes_away(pretender: Pretender) -> None:
    pretender.answer("query-status", "end")
    monitor = pretender.open()
    for _ in range(2):
        with pytest.raises(TargetGone, match="libvirt ended"):
            monitor.execute("query-status")
    monitor.close()


def test_silence_is_an_error(pretender: Pretender, monkeypatch: pytest.MonkeyPatch) -> None:
    pretender.answer("query-status", "hang")
    monitor = pretender.open()
    monkeypatch.setattr(virsh, "ANSWER_LIMIT", 0.05)
    with pytest.raises(ProtocolError, match="did not answer"):
        monitor.execute("query-status")
    with pytest.raises(TargetGone):
        monitor.execute("query-status")
    monitor.close()


@pytest.mark.parametrize("said", ["", "[1]", "{", "7" * 5000])
def test_anything_but_an_answer_is_an_error_of_ours(pretender: Pretender, said: str) -> None:
    pretender.answer("query-status", said)
    monitor = pretender.open()
    with pytest.raises(ProtocolError):
        monitor.execute("query-status")
    monitor.close()


def test_the_process_is_that_of_the_vcpus_and_must_have_the_uuid(pretender: Pretender) -> None:
    pretender.answer("query-cpus-fast", {"return": [{"cpu-index": 0, "thread-id": os.getpid()}]})
    monitor = pretender.open()
    assert monitor.peer() is None  # it is this test, not QEMU
    monitor.close()


def test_without_virsh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match="virsh is not installed") as refused:
        Libvirt(Domain("web1"))
    assert "libvirt-clients" in refused.value.remedy


@pytest.mark.parametrize("name", ["", "a\nquit", "\x1b[31m"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="no name of a domain"):
        Domain(name)


def test_words_are_quoted_for_virsh() -> None:
    assert quoted("a\"b\\c'") == '"a\\"b\\\\c\'"'


@given(st.binary() | st.builds(
    lambda name, at, rest: b"event " + name + b" at " + at + b" for domain 'x': " + rest,
    st.from_regex(rb"[A-Z_]{1,8}"), st.from_regex(rb"[0-9]{1,14}\.[0-9]{0,8}"), st.binary(),
))  # fmt: skip
def test_any_line_is_an_event_or_none(line: bytes) -> None:
    found = read_event(line)
    assert found is None or (found.name.isascii() and isinstance(found.data, dict))
