"""Paths that cannot be read or written, and lists of vcpus that say nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from gprof.cli.main import cli
from gprof.errors import FormatError, PermissionProblem, UsageError
from gprof.guest.demo import demo_file

DEMO = str(demo_file("demo.gprof"))
NOBODY = 65534


def run(*words: str) -> str:
    """What one command writes to stderr; its exceptions come through, as `main` gets them."""
    ran = CliRunner().invoke(cli, words, standalone_mode=False)
    if ran.exception:
        raise ran.exception
    return ran.stderr


@contextmanager
def without_rights() -> Iterator[None]:
    """As somebody whom the system refuses something: root becomes nobody for a while."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may enter, with a file in it."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "a.gprof").write_bytes(b"")
    folder.chmod(0)
    run("export", "-i", DEMO, "-o", str(tmp_path / "once.svg"))  # whoever has no rights imports not
    yield folder
    folder.chmod(0o700)


def test_a_folder_that_may_not_be_entered(closed: Path) -> None:
    with without_rights():
        with pytest.raises(PermissionProblem, match=r"a\.svg cannot be created"):
            run("export", "-i", DEMO, "-o", str(closed / "a.svg"))
        with pytest.raises(PermissionProblem, match=r"a\.gprof cannot be read"):
            run("export", "-i", str(closed / "a.gprof"), "-o", "a.svg")


def test_an_output_that_is_there_and_may_not_be_read(closed: Path) -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        there = Path(folder) / "there.svg"
        there.touch(0)
        with without_rights(), pytest.raises(PermissionProblem, match=r"there\.svg cannot be crea"):
            run("export", "-i", DEMO, "-o", str(there))


def test_a_file_is_called_what_its_user_calls_it(tmp_path: Path) -> None:
    wanted = tmp_path / "none" / "x.svg"
    with pytest.raises(UsageError) as told:
        run("export", "-i", DEMO, "-o", str(wanted))
    assert told.value.problem.startswith(f"{wanted} cannot be created")


def test_a_directory_that_is_none_of_perfs(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is a directory, and none of perf's"):
        run("report", "-i", str(tmp_path))


def test_a_picture_is_asked_for_by_the_names_of_pictures(tmp_path: Path) -> None:
    for name in ("a.png", "a.folded"):
        with pytest.raises(UsageError) as told:
            run("flamegraph", "-i", DEMO, "-o", str(tmp_path / name))
        assert "ends in .svg, .html" in told.value.remedy
        assert "-f" not in told.value.remedy.split()


def test_symbols_are_not_read_for_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    # Nothing listens there: what comes first is told.
    wanted = tmp_path / "kallsyms"
    wanted.touch()
    with pytest.raises(UsageError, match="exists already"):
        run("symbols", "--gdb", str(tmp_path / "gdb"), "-o", str(wanted))


def test_a_list_of_vcpus_that_counts_down() -> None:
    ran = CliRunner().invoke(cli, ["report", "-i", DEMO, "-C", "5-1"])
    assert ran.exit_code == 2
    assert "'5-1' counts down: write 1-5" in ran.stderr
