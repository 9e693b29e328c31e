"""Recordings of perf that come through a pipe, and a perf that we start: fast, slow, or not at all.

The recordings are made up, and so is the perf: a script that says what a real one would.
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import shlex
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from gprof.perfdata import EventType, Feature, SampleField
from gprof.recording.reader import read
from tests import perf_writer as write
from tests.in_process import Said, gprof
from tests.waiting import PATIENCE
from tui import plain

FIXTURES = Path(__file__).parents[2] / "fixtures"
KERNEL = 0xFFFF_FFFF_8100_0000
_EXIT_SAMPLE = write.GUEST_SAMPLE | SampleField.RAW
#: kvm:kvm_entry and kvm:kvm_exit, as `write.KVM_FORMATS` numbers them.
EXIT_ATTRIBUTES = tuple(
    write.attribute(
        kind=EventType.TRACEPOINT, config=config, sample_type=_EXIT_SAMPLE, period=1, flags=0
    )
    for config in (1001, 1002)
)


def exits(count: int, *, later: int = 0) -> bytes:
    """Exits for `hlt` of one vcpu, each with the entry that ends it; the first entry has none."""
    records = b""
    for i in range(count):
        left = struct.pack("<8xII QII", 0x78, 0, KERNEL, 2, 1)
        back = struct.pack("<8xII Q", 1, 0, KERNEL)
        for number, raw, after in ((2, left, 0), (1, back, 4)):
            records += write.sample(
                sample_type=_EXIT_SAMPLE,
                misc=1,
                number=number,
                time=later + 10 * i + after,
                raw=raw,
            )
    return records


class Watched(io.BytesIO):
    """Stdout that somebody waits for."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, data: Any, /) -> int:
        with self._changed:
            written = super().write(data)
            self._changed.notify_all()
        return written

    def wait_for(self, words: str) -> bool:
        """Whether they come, before anybody would say that they do not."""
        with self._changed:
            return self._changed.wait_for(lambda: words.encode() in self.getvalue(), PATIENCE)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables come often, so that nobody waits."""
    often = functools.partial(plain.print_plain, interval_s=0.02)
    monkeypatch.setattr(plain, "print_plain", often)


@contextmanager
def fed(feed: Callable[[BinaryIO], None]) -> Iterator[BinaryIO]:
    """The reading end of a pipe that a thread feeds, and closes when it is done."""
    reading, writing = os.pipe()

    def run() -> None:
        with os.fdopen(writing, "wb", buffering=0) as sink:
            feed(sink)

    feeder = threading.Thread(target=run)
    with os.fdopen(reading, "rb", buffering=0) as stream:
        feeder.start()
        yield stream
    feeder.join(PATIENCE)


def samples(count: int, ip: int) -> bytes:
    return b"".join(write.sample(ip=ip, time=i + 1) for i in range(count))


def test_a_table_is_there_before_the_stream_ends(tmp_path: Path) -> None:
    out, seen = Watched(), []

    def feed(sink: BinaryIO) -> None:
        sink.write(write.perf_pipe(samples(3, KERNEL)))
        seen.append(out.wait_for(f"{KERNEL:#x}"))
        sink.write(samples(2, KERNEL + 0x5000))
        seen.append(out.wait_for(f"{KERNEL + 0x5000:#x}"))
        sink.write(write.sample(ip=0x40_0000, time=9, pid=200))
        seen.append(out.wait_for("[user]"))

    with fed(feed) as stream:
        said = gprof("top", "-i", "-", "--plain", stdin=stream, out=out)
    assert seen == [True, True, True]
    assert (said.code, said.err) == (0, "")
    last = said.out[said.out.rindex("guests  perf") :]
    assert "ENDED" in last
    assert "6 samples" in last
    assert "LIVE" in said.out
    assert "halted" not in said.out  # nothing is


def test_names_are_there_while_it_streams(tmp_path: Path) -> None:
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text(f"{KERNEL:x} T first\n{KERNEL + 0x1000:x} T second\n")
    out, seen = Watched(), []

    def feed(sink: BinaryIO) -> None:
        sink.write(write.perf_pipe(samples(3, KERNEL + 5)))
        seen.append(out.wait_for("first"))
        # A guest that appears later is named as well.
        sink.write(write.sample(ip=KERNEL + 0x1005, pid=300, time=7))
        seen.append(out.wait_for("second"))

    with fed(feed) as stream:
        said = gprof(
            "top", "-i", "-", "--plain", "--guestkallsyms", kallsyms, stdin=stream, out=out
        )
    assert (said.code, seen) == (0, [True, True])


def test_symbols_of_another_boot_end_it(tmp_path: Path) -> None:
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text(f"{KERNEL:x} T first\n{KERNEL + 0x1000:x} T second\n")
    stream = io.BytesIO(write.perf_pipe(samples(200, KERNEL + 0x300_0000)))
    said = gprof("top", "-i", "-", "--plain", "--guestkallsyms", kallsyms, stdin=stream)
    assert said.code == 5
    assert "another boot or another guest" in said.err


def test_a_wrong_symbol_file_is_told_before_anything_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO(write.perf_pipe(samples(1, KERNEL)))
    said = gprof("top", "-i", "-", "--guestkallsyms", __file__, stdin=stream)
    assert (said.code, said.out) == (5, "")
    assert "no kallsyms text" in said.err


@pytest.mark.parametrize(
    "command", [("top", "-i", "-", "--plain"), ("report", "-i", "-"), ("stat", "-i", "-")]
)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"garbage" * 100, "no perf.data|neither a recording of gprof nor a perf.data"),
        (b"PERFILE2" + bytes(8), "too few for one|cut off|ends"),
    ],
    ids=["nothing", "garbage", "a bad header"],
)
def test_what_is_no_recording_gives_a_sentence(
    command: tuple[str, ...], data: bytes, words: str
) -> None:
    with fed(lambda sink: void(sink.write(data))) as stream:
        said = gprof(*command, stdin=stream)
    assert (said.code, said.out) == (6, "")
    assert re.search(words, said.err)
    assert len(said.err.splitlines()) == 2


def void(_: object) -> None:
    """Forget what a function gave."""


def test_a_recording_of_nothing_says_why() -> None:
    data = write.perf_pipe(b"")
    for command in (("top", "-i", "-", "--plain"), ("report", "-i", "-")):
        said = gprof(*command, stdin=io.BytesIO(data))
        assert (said.code, said.err) == (0, "")
        assert "no guest was sampled" in said.out


def test_a_recording_of_gprof_may_come_through_the_pipe_too() -> None:
    recorded = (FIXTURES / "recordings" / "v1.0.gprof").read_bytes()
    said = gprof("top", "-i", "-", "--plain", stdin=io.BytesIO(recorded))
    assert said.code == 0
    assert "ENDED" in said.out


def test_a_stream_that_is_cut_off_gives_what_came() -> None:
    data = write.perf_pipe(samples(3, KERNEL))[:-5]
    said = gprof("report", "-i", "-", "--json", stdin=io.BytesIO(data))
    assert said.code == 0
    assert json.loads(said.out)["samples"] == 2


def test_exits_are_counted_while_they_stream() -> None:
    pipe = write.perf_pipe(
        b"",
        attributes=EXIT_ATTRIBUTES,
        ids=((1,), (2,)),
        features={Feature.TRACING_DATA: write.TracingWriter().data()},
    )
    out, seen = Watched(), []

    def feed(sink: BinaryIO) -> None:
        sink.write(pipe + exits(3))
        seen.append(out.wait_for("# 2 exits"))
        sink.write(exits(2, later=1000))
        seen.append(out.wait_for("# 4 exits"))

    with fed(feed) as stream:
        said = gprof("stat", "-i", "-", "--interval", "0.01", stdin=stream, out=out)
    assert (said.code, said.err, seen) == (0, "", [True, True])
    assert "hlt" in said.out


# A perf of our own


@pytest.fixture
def fake_perf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a perf on PATH that writes some bytes, and does what is asked of it."""
    directory = tmp_path / "bin"
    directory.mkdir()

    def make(data: bytes, *, complains: str = "", code: int = 0, waits: bool = False) -> None:
        (tmp_path / "data").write_bytes(data)
        lines = ["#!/bin/sh", "trap 'exit 130' INT", f"cat {tmp_path / 'data'}"]
        lines += ["while :; do sleep 0.01; done"] if waits else []
        lines += [f"echo {shlex.quote(complains)} >&2", f"exit {code}"]
        (directory / "perf").write_text("\n".join(lines) + "\n")
        (directory / "perf").chmod(0o755)

    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")
    return make


LIVE = [("top", "--perf", "--plain"), ("record", "--perf", "-o"), ("stat", "--perf")]


def live(command: tuple[str, ...], directory: Path) -> Said:
    return gprof(*command, *([directory / "x.gprof"] if command[-1] == "-o" else []))


@pytest.mark.parametrize("command", LIVE)
def test_a_missing_perf_is_told(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = live(command, tmp_path)
    assert said.code == 4
    assert "perf cannot be started" in said.err
    assert "Install perf" in said.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", LIVE)
def test_missing_rights_are_told_with_what_gives_them(
    command: tuple[str, ...], tmp_path: Path, fake_perf: Callable[..., None]
) -> None:
    fake_perf(b"", complains="Error: No permission to enable cpu-clock event", code=255)
    said = live(command, tmp_path)
    assert said.code == 3
    assert "kernel.perf_event_paranoid is" in said.err
    assert "sudo sysctl kernel.perf_event_paranoid=-1" in said.err
    assert not (tmp_path / "x.gprof").exists()


@pytest.mark.parametrize(
    ("event", "cpu", "words"),
    [
        (write.attribute(kind=0, flags=2 << 15), "GenuineIntel,6,85", "PEBS"),
        (write.attribute(kind=0), "AuthenticAMD,25", "a hardware counter cannot"),
        (write.attribute(kind=1), "", "CONFIG_GUEST_PERF_EVENTS"),
    ],
)
def test_a_perf_that_samples_no_guest_says_why(
    event: bytes, cpu: str, words: str, tmp_path: Path, fake_perf: Callable[..., None]
) -> None:
    features: dict[int, bytes] = {Feature.CPUID: write.counted("<", cpu)}
    fake_perf(write.perf_pipe(write.sample(misc=1), attributes=(event,), features=features))
    shown = gprof("top", "--perf", "--plain")
    assert shown.code == 0
    assert words in shown.out
    recorded = gprof("record", "--perf", "-o", tmp_path / "x.gprof")
    assert recorded.code == 0
    assert words in recorded.err


def test_what_perf_samples_is_recorded_with_its_names(
    tmp_path: Path, fake_perf: Callable[..., None]
) -> None:
    fake_perf(write.perf_pipe(samples(5, KERNEL + 5) + write.sample(ip=KERNEL + 5, pid=7)))
    kallsyms = tmp_path / "kallsyms"
    kallsyms.write_text(f"{KERNEL:x} T first\n{KERNEL + 0x1000:x} T second\n")
    path = tmp_path / "x.gprof"
    said = gprof("record", "--perf", "-o", path, "--guestkallsyms", f"7={kallsyms}")
    assert said.code == 0
    assert "halted" not in said.err
    assert {guest.pid for guest in read(path).guests.values()} == {100, 7}
    rows = json.loads(gprof("report", "-i", path, "--json").out)["rows"]
    assert [(row["guest"], row["symbol"], row["self"]) for row in rows] == [
        ("pid 100", None, 5),
        ("pid 7", "first", 1),
    ]
    # The guest that had no names when it was recorded is given them now.
    again = gprof("report", "-i", path, "--json", "--guestkallsyms", f"100={kallsyms}")
    rows = json.loads(again.out)["rows"]
    assert [(row["guest"], row["symbol"], row["self"]) for row in rows] == [
        ("pid 100", "first", 5),
        ("pid 7", "first", 1),
    ]
    wrong = gprof("report", "-i", path, "--guestkallsyms", f"8={kallsyms}")
    assert "those recorded: 7, 100" in wrong.err


def test_a_perf_that_runs_on_is_ended_after_the_duration(
    tmp_path: Path, fake_perf: Callable[..., None]
) -> None:
    fake_perf(write.perf_pipe(samples(5, KERNEL)), waits=True)
    said = gprof("top", "--perf", "--plain", "-d", "0.05")
    assert said.code == 0
    assert "5 samples" in said.out
    assert "ENDED" in said.out


def test_exits_are_counted_live(fake_perf: Callable[..., None]) -> None:
    pipe = write.perf_pipe(
        exits(5),
        attributes=EXIT_ATTRIBUTES,
        ids=((1,), (2,)),
        features={Feature.TRACING_DATA: write.TracingWriter().data()},
    )
    fake_perf(pipe, waits=True)
    said = gprof("stat", "--perf", "--interval", "0.01", "-d", "0.05")
    assert (said.code, said.err) == (0, "")
    assert "# 4 exits" in said.out  # once more than that, where the host is quick
    fake_perf(pipe)
    content = json.loads(gprof("stat", "--perf", "--json").out)
    assert [(row["reason"], row["count"]) for row in content["rows"]] == [("hlt", 4)]
    shown = gprof("top", "--perf", "--exits", "--plain")
    assert "not samples of time" in shown.out
    assert f"{KERNEL:#x}" in shown.out


def test_exits_without_a_guest_say_so(fake_perf: Callable[..., None]) -> None:
    fake_perf(
        write.perf_pipe(
            b"",
            attributes=EXIT_ATTRIBUTES,
            ids=((1,), (2,)),
            names=("kvm:kvm_entry", "kvm:kvm_exit"),
        )
    )
    assert "no guest ran under KVM" in gprof("stat", "--perf").out
    assert "no guest ran under KVM" in gprof("top", "--perf", "--exits", "--plain").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("top", "--perf", "-C", "0"), "--vcpus chooses"),
        (("top", "-i", "-", "-C", "0"), "--vcpus chooses"),
        (("top", "-p", "5"), "--pid is given without --perf"),
        (("record", "--host", "-o", "x"), "are for samples of perf"),
        (("top", "--perf", "--exits", "-e", "cycles"), "--exits and --event"),
        (("top", "--perf", "--gdb", ":1234"), "--gdb and --perf"),
    ],
)
def test_options_that_nothing_would_heed_are_refused(
    arguments: tuple[str, ...], words: str
) -> None:
    said = gprof(*arguments)
    assert said.code == 2
    assert words in said.err
