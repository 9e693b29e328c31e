"""A recording as a file: who owns it, what is overwritten, and what the system refuses."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gprof.errors import FormatError, GprofError, PermissionProblem, UsageError
from gprof.recording.format import preamble
from gprof.recording.reader import read
from gprof.recording.recognition import kind_of
from gprof.recording.writer import Writer, save
from tests.profiles import synthetic
from tests.unit.recording.read_again import FACTS


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    path.write_text("precious")
    with pytest.raises(UsageError) as caught:
        Writer.open(path)
    assert "--force" in caught.value.remedy
    assert path.read_text() == "precious"
    save(synthetic(4), path, force=True)
    assert len(read(path).samples) == 4


def test_a_recording_belongs_to_its_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda file, uid, gid: given_to.append((uid, gid)))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    save(synthetic(4), tmp_path / "x.gprof")
    assert given_to == [(1000, 1001)]
    assert stat.S_IMODE((tmp_path / "x.gprof").stat().st_mode) == 0o600
    monkeypatch.setenv("SUDO_UID", "-1; rm")
    save(synthetic(4), tmp_path / "y.gprof")
    assert len(given_to) == 1


@pytest.mark.parametrize("name", ["missing/x.gprof", "."])
def test_places_that_take_no_file_are_usage_errors(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Writer.open(tmp_path / name)
    with pytest.raises(UsageError):
        read(tmp_path / name)


def test_refusals_of_the_system_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionProblem, match="Permission denied"):
        Writer.open(tmp_path / "x.gprof")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gprof"
    profile = synthetic(200)
    room = [700]
    write = os.write

    def cramped(file: int, data: bytearray) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(file, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", cramped)
    writer = Writer.open(path)
    writer.add(profile.samples, profile.stacks)
    with pytest.raises(GprofError, match="No space left on device") as caught:
        writer.flush(profile.facts, profile.guests, profile.spaces)
    assert caught.value.remedy
    assert "torn" in read(path).facts.notes[0]
    room[0] = 1 << 20
    writer.flush(profile.facts, profile.guests, profile.spaces)
    writer.close()
    assert len(read(path).samples) == 200
    assert read(path).facts.notes == ()


def test_a_closed_pipe_is_a_sentence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = Writer(writing, "-")
    with pytest.raises(GprofError, match="cannot be written"):
        writer.flush(FACTS, {}, {})
    with pytest.raises(GprofError, match="cannot be written"):
        writer.close()
    writer.close()


def test_kinds_are_known_by_content(tmp_path: Path) -> None:
    for name, content, kind in (
        ("a.data", preamble(), "gprof"),
        ("b.gprof", b"PERFILE2" + bytes(96), "perf"),
        ("c", b"2ELIFREP" + bytes(96), "perf"),
        ("d", b"PERFFILE" + bytes(96), "perf"),
    ):
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == kind
    for content, words in (
        (b"", "is empty"),
        (b"PERF", "neither"),
        (b"\x7fELF" + bytes(60), "neither"),
    ):
        (tmp_path / "d").write_bytes(content)
        with pytest.raises(FormatError, match=words):
            kind_of(tmp_path / "d")
    with pytest.raises(UsageError, match="does not exist"):
        kind_of(tmp_path / "missing")
