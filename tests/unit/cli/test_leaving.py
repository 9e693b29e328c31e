"""The commands that write files for others: export, flamegraph, diff."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gprof.cli.main import cli
from gprof.errors import UsageError
from gprof.export.formats import FORMATS
from gprof.profile.view import tabulate
from gprof.recording.writer import save
from symbols.errors import GprofError
from tests.profiles import synthetic

PROFILE = synthetic(300, stacks=True)


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "a.gprof"
    save(PROFILE, path)
    return str(path)


def run(*words: str) -> Result:
    """One command; exceptions of ours come through, as `main` gets them."""
    ran = CliRunner().invoke(cli, words, standalone_mode=False)
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return ran


@pytest.mark.parametrize("form", FORMATS)
def test_export_to_a_file_and_to_stdout(form: str, recording: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{FORMATS[form].endings[0]}"
    told = run("export", "-i", recording, "-o", str(out))
    assert f"Wrote {out}: {form}" in told.stderr
    assert told.stdout == ""
    piped = run("export", "-i", recording, "-f", form, "-o", "-")
    assert piped.stdout_bytes == out.read_bytes()
    assert piped.stderr == ""


def test_export_compresses_when_the_name_says_so(recording: str, tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.folded", tmp_path / "a.folded.gz"
    for out in (plain, packed):
        run("export", "-i", recording, "-o", str(out))
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    first = packed.read_bytes()
    run("export", "-i", recording, "-o", str(packed), "--force")
    assert packed.read_bytes() == first


def test_export_replaces_nothing_unasked(recording: str, tmp_path: Path) -> None:
    out = tmp_path / "a.folded"
    out.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        run("export", "-i", recording, "-o", str(out))
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.folded", "a.gprof"]


def test_export_needs_a_format(recording: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not say in which format"):
        run("export", "-i", recording, "-o", str(tmp_path / "a.txt"))
    with pytest.raises(UsageError, match="does not say in which format"):
        run("export", "-i", recording, "-o", "-")


def test_export_filters_and_groups(recording: str) -> None:
    piped = run("export", "-i", recording, "-f", "json", "-o", "-", "--group", "vcpu", "-C", "1")
    assert [row["name"] for row in json.loads(piped.stdout)["rows"]] == ["vcpu 1"]
    everything = run("export", "-i", recording, "-f", "folded", "-o", "-").stdout
    awake = run("export", "-i", recording, "-f", "folded", "-o", "-", "--no-idle").stdout
    assert "default_idle" in everything
    assert len(awake.splitlines()) < len(everything.splitlines())


def test_export_of_what_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    path.write_bytes(b"\x89gprof\r\n" + bytes(100))
    with pytest.raises(GprofError):
        run("export", "-i", str(path), "-f", "folded", "-o", "-")


def test_flamegraph_draws_what_the_name_says(recording: str, tmp_path: Path) -> None:
    for name, begins in (("a.svg", b"<?xml"), ("a.html", b"<!DOCTYPE html>")):
        out = tmp_path / name
        told = run("flamegraph", "-i", recording, "-o", str(out), "--icicle", "--inverted")
        assert out.read_bytes().startswith(begins)
        assert "Open it in a web browser" in told.stderr
    assert run("flamegraph", "-i", recording, "-o", "-").stdout.startswith("<?xml")
    with pytest.raises(UsageError, match="asks for folded"):
        run("flamegraph", "-i", recording, "-o", str(tmp_path / "a.folded"))


def test_diff(recording: str, tmp_path: Path) -> None:
    other = tmp_path / "b.gprof"
    save(synthetic(3000, seed=5, stacks=True), other)
    text = run("diff", recording, str(other)).stdout
    assert text.splitlines()[0].startswith("# before  web1")
    content = json.loads(run("diff", recording, str(other), "--json").stdout)
    assert content["before"]["weight"] == tabulate(PROFILE).weight
    assert content["after"]["weight"] == 3000
    out = tmp_path / "d.svg"
    run("diff", recording, str(other), "-o", str(out))
    assert out.read_bytes().startswith(b"<?xml")
    assert run("diff", recording, str(other), "-o", "-").stdout_bytes == out.read_bytes()
    for wrong in (["-o", "x.html"], ["-o", "x.svg", "--json"]):
        with pytest.raises(UsageError):
            run("diff", recording, str(other), *wrong)
