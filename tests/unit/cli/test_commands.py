"""The command line: what it prints, where, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gprof.cli import main as entry
from gprof.recording.writer import save
from tests.profiles import synthetic

Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in this process and gives its exit code."""

    def call(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gprof", *words])
        return entry.main()

    return call


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recordings") / "web1.gprof"
    save(synthetic(600), path)
    return str(path)


def test_every_command_exists_and_has_a_help(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    listed = capsys.readouterr().out
    for name in entry.COMMANDS:
        assert name in listed
        assert run(name, "--help") == 0
        assert "Usage:" in capsys.readouterr().out


def test_report_prints_data_on_stdout_alone(
    run: Run, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("report", "-i", recording, "--json") == 0
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content["samples"] == 600
    assert err == ""
    assert run("report", "-i", recording, "--sort", "symbol", "--limit", "3") == 0
    assert "more rows are not shown" in capsys.readouterr().out
    assert run("report", "-i", recording, "--csv", "--no-idle") == 0
    assert "default_idle,[kernel],idle" not in capsys.readouterr().out


def test_annotate_from_a_recording(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], recording: str
) -> None:
    assert run("annotate", "clear_page_erms", "-i", recording) == 0
    assert "rep stosb" in capsys.readouterr().out
    assert run("annotate", "vfs_read", "-i", recording) == 5
    assert "--guestvmlinux" in capsys.readouterr().err
    assert run("annotate", "no_such_function", "-i", recording) == 2
    assert "gprof: the guest has no symbol" in capsys.readouterr().err


def test_annotate_with_the_source(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[3] / "fixtures" / "demo"
    demo = ("checksum_blocks", "-i", str(folder / "demo.gprof"))
    given = ("--guestvmlinux", str(folder / "demo.elf"), "--source", str(folder))
    assert run("annotate", *demo, *given) == 0
    shown = capsys.readouterr().out
    if "no source lines" in shown:
        pytest.skip(next(line for line in shown.splitlines() if "no source lines" in line))
    assert "low += pages[page][word];" in shown
    assert "now workload.h:13 < checksum_blocks workload.c:79" in shown
    assert "shares are of whole blocks" in shown
    assert run("annotate", *demo, *given, "--fold", "function") == 0
    assert "now (inlined)" not in capsys.readouterr().out  # it has no samples
    assert run("annotate", *demo, *given, "--no-lines", "--offsets", "-M", "intel") == 0
    assert "add rcx, qword ptr [rax]" in capsys.readouterr().out
    # As the machine that built it had it, and a directory elsewhere.
    mapped = ("--source-map", f"workload={folder}/workload")
    assert run("annotate", *demo, *given[:2], *mapped) == 0
    assert "low += pages[page][word];" in capsys.readouterr().out


def test_what_annotate_does_not_understand_is_explained(
    run: Run, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("annotate", "clear_page_erms", "-i", recording, "--source", "/none") == 5
    assert "no directory of sources" in capsys.readouterr().err
    assert run("annotate", "clear_page_erms", "-i", recording, "--source-map", "x") == 5
    assert "FROM=TO" in capsys.readouterr().err
    assert run("annotate", "clear_page_erms", "-i", recording, "--bits", "8") == 2


def test_a_recording_cut_in_its_first_bytes_is_one(
    run: Run, recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.gprof"
    cut.write_bytes(Path(recording).read_bytes()[:9])
    assert run("report", "-i", str(cut)) == 6
    assert "cut short: it has only 9 bytes" in capsys.readouterr().err


def test_flamegraph_writes_whole_files_and_replaces_none(
    run: Run, recording: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.svg"
    assert run("flamegraph", "-i", recording, "-o", str(out)) == 0
    assert out.read_text().endswith("</svg>\n")
    assert run("flamegraph", "-i", recording, "-o", str(out)) == 2
    assert "--force" in capsys.readouterr().err
    assert run("flamegraph", "-i", recording, "-o", str(out), "--force") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.svg"]


def test_plain_top_of_a_recording(
    run: Run, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("top", "-i", recording, "--plain") == 0
    out = capsys.readouterr().out
    assert "copy_user_enhanced_fast_string" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["report", "-i", "/nonexistent"], 2, "does not exist"),
        (["report", "-i", "/etc/passwd"], 6, "neither a recording"),
        (["report"], 2, "Missing option"),
        (["nonsense"], 2, "No such command"),
        (["record", "--gdb", "/nonexistent/socket", "-o", "{tmp}/x.gprof"], 4, "no socket"),
        (["record", "--gdb", "host:port"], 2, "no port number|not a port number"),
        (["record", "--guestvmlinux", "/etc/passwd", "-o", "{tmp}/x.gprof"], 5, "no ELF file"),
        (["record", "--guestkallsyms", "/nonexistent", "-o", "{tmp}/x.gprof"], 5, "not"),
        (["record", "-C", "0-x"], 2, "no list of vcpus"),
        (["record", "-F", "0"], 2, "0"),
        (["top", "--gdb", "x", "-i", "y"], 2, "given together"),
        (["top", "--qmp", "x", "-i", "y"], 2, "given together"),
        (["top", "--qmp", "x", "--perf"], 2, "given together"),
        (["top", "--qmp", "x", "--domain", "y"], 2, "given together"),
        (["top", "--domain", ""], 2, "no name of a domain"),
        (["doctor", "--max-halt-latency", "0"], 2, "0"),
        (["record", "--perf", "--weight", "running", "-o", "{tmp}/x.gprof"], 2, "leave them out"),
        (["record", "--gdb", "/x", "--max-halt-latency", "1", "-o", "{tmp}/x.gprof"], 2, "needs"),
        (["record", "--qmp", "/nonexistent/q", "-o", "{tmp}/x.gprof"], 4, "a QMP monitor"),
        (["report", "-i", "/etc/passwd", "--sort", "nonsense"], 2, "no sort key"),
        (["stat"], 2, "either -i or --perf"),
        (["record", "--gdb", "{tmp}", "-o", "{tmp}/x.gprof"], 4, "that is no socket"),
        (["dump", "--core", "{tmp}"], 6, "is a directory"),
        (["dump", "--core", "/dev/null"], 6, "no regular file"),
        (["dump", "--core", "{tmp}/none"], 2, "does not exist"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_bad_input_gets_a_sentence_and_a_code(
    run: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    said: str,
) -> None:
    assert run(*(word.replace("{tmp}", str(tmp_path)) for word in words)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert any(part in err for part in said.split("|")), err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a recording of nothing was left behind"


HEAVY = ("numpy", "textual", "rich", "capstone", "elftools", "msgpack", "zstandard")


@pytest.mark.parametrize(
    ("words", "allowed"),
    [(["--help"], ()), (["record", "--help"], ()), (["top", "--help"], ())],
    ids=lambda value: " ".join(value) or None,
)
def test_help_imports_nothing_heavy(words: list[str], allowed: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom gprof.cli.main import main\n"
        f"sys.argv = ['gprof', *{words!r}]\nmain()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="."
    )
    assert tuple(done.stderr.split()) == allowed


def test_report_and_record_do_without_the_screen(recording: str) -> None:
    script = (
        "import sys\nfrom gprof.cli.main import main\n"
        f"sys.argv = ['gprof', 'report', '-i', {recording!r}]\nmain()\n"
        "import gprof.cli.running\nassert 'textual' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)


def test_a_reader_that_has_enough_ends_it_quietly(recording: str) -> None:
    done = subprocess.run(
        [f"{sys.executable} -m gprof report -i {recording} | head -1"],
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("# guest")
