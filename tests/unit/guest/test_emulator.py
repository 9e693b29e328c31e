"""A process that stands in for QEMU: it is started, waited for, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gprof.errors import TargetError
from gprof.guest.emulator import LONGEST_SOCKET_PATH, Emulator
from tests.waiting import PATIENCE

ANSWERING = """\
import os, socket, sys
monitor = sys.argv[sys.argv.index("-qmp") + 1].removeprefix("unix:").split(",")[0]
listener = socket.socket(socket.AF_UNIX)
listener.bind(monitor)
listener.listen()
if "-fifo" in sys.argv:
    held = os.open(sys.argv[sys.argv.index("-fifo") + 1], os.O_WRONLY)
import json
while True:
    client, _ = listener.accept()
    client.sendall(b'{"QMP": {}}\\n')
    with client, client.makefile() as asked:
        for line in asked:
            command = json.loads(line)
            print(command["execute"], file=sys.stderr, flush=True)
            answer = "error" if command["execute"] == "cont" else "return"
            client.sendall(b'{"event": "SOMETHING"}\\n')
            client.sendall(json.dumps({answer: {}, "id": command["id"]}).encode() + b"\\n")
"""
FAILING = """\
import sys
print("first\\nsecond \\x1b[31m line", file=sys.stderr)
sys.exit(1)
"""
SILENT = "import time; time.sleep(600)"


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder on PATH for programs that stand in for QEMU."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def write_program(folder: Path, text: str) -> str:
    program = folder / "pretended-qemu"
    program.write_text(f"#!{sys.executable}\n{text}")
    program.chmod(0o755)
    return program.name


def test_runs_inside_the_context_only(pretend: Path) -> None:
    emulator = Emulator([], program=write_program(pretend, ANSWERING))
    with emulator:
        directory = emulator.directory
        assert emulator.is_running()
        assert Path(emulator.qmp_address).is_socket()
        assert Path(emulator.gdb_address).parent == directory
        assert directory.stat().st_mode & 0o077 == 0
    assert not emulator.is_running()
    assert not directory.exists()
    emulator.close()


def test_pause_and_resume_go_through_the_monitor(pretend: Path) -> None:
    with Emulator([], program=write_program(pretend, ANSWERING)) as emulator:
        emulator.pause()
        with pytest.raises(TargetError, match="refuses cont"):
            emulator.resume()
        asked = (emulator.directory / "stderr").read_text().split()
    each_greets = "qmp_capabilities"
    assert asked == [each_greets, "query-status", each_greets, "stop", each_greets, "cont"]
    with pytest.raises(TargetError, match="does not carry out stop"):
        emulator.pause()


def test_long_temporary_folder_still_gives_usable_sockets(
    pretend: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with Emulator([], program=write_program(pretend, ANSWERING)) as emulator:
        assert len(emulator.qmp_address) <= LONGEST_SOCKET_PATH
    assert not list(deep.iterdir())


def test_program_that_ends_is_quoted_safely(pretend: Path) -> None:
    with (
        pytest.raises(TargetError, match="ended at once") as caught,
        Emulator([], program=write_program(pretend, FAILING)),
    ):
        pytest.fail("entered")
    assert "first; second" in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_program_that_says_nothing_is_given_up(pretend: Path) -> None:
    emulator = Emulator([], program=write_program(pretend, SILENT), patience=0.2)
    with pytest.raises(TargetError, match="did not answer"), emulator:
        pytest.fail("entered")
    assert not emulator.is_running()


def test_missing_program_is_named_with_the_package() -> None:
    emulator = Emulator([], program="qemu-system-none")
    with pytest.raises(TargetError, match="qemu-system-none is not installed") as caught, emulator:
        pytest.fail("entered")
    assert "qemu-system-x86" in caught.value.remedy


def test_program_and_folder_go_when_the_parent_is_killed(pretend: Path, tmp_path: Path) -> None:
    program = write_program(pretend, ANSWERING)
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    parent = textwrap.dedent(f"""\
        import signal
        from gprof.guest.emulator import Emulator
        with Emulator(["-fifo", {str(fifo)!r}], program={program!r}) as emulator:
            print(emulator.directory, flush=True)
            signal.pause()
    """)
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        alive = fifo.open("rb", buffering=0)
        directory = Path(process.stdout.readline().decode().strip())
        assert directory.is_dir()
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        # The program holds the fifo's other end: it reads as ended when the program has.
        with alive:
            assert alive.read() == b""
    assert not directory.exists()
