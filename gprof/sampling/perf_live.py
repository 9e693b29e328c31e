"""A perf that we start ourselves, its output read as it comes."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from gprof.errors import PermissionProblem, TargetError, TargetGone
from gprof.perfdata import PerfDataError
from gprof.sampling.exit_events import ExitEvent, known_architecture, plan
from gprof.sampling.perf import PerfFile
from gprof.sampling.perf_guests import PerfGuest
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.names import printable

_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
#: Seconds that perf has to end after it was asked to.
_GRACE = 5.0
#: Bytes of perf's complaints that are worth showing.
_TAIL = 600
_DENIED = re.compile(r"permi(ssion|tted)|paranoid|EACCES|EPERM|CAP_", re.IGNORECASE)
#: Pages of each processor's buffer for tracepoints, of which a busy guest causes 10^5 a second.
_EXIT_PAGES = 128
_PAGE = 4096
_SAMPLE_SIZE = 56


def sample_command(
    event: str = "cpu-clock", frequency: int = 499, *, pid: int | None = None, host: bool = False
) -> list[str]:
    """The perf that samples guests into its standard output.

    The buffers are small enough that one that a single vcpu fills is written out twice a second:
    perf writes when a buffer is half full.

    Args:
        event: what to sample by; `cpu-clock` needs no hardware counter.
        frequency: samples a second of each processor.
        pid: of one hypervisor; all guests of the host where None.
        host: keep the host's own samples too.
    """
    pages = 1
    while pages * _PAGE < frequency * _SAMPLE_SIZE:
        pages *= 2
    which = ["-p", str(pid)] if pid is not None else ["-a"]
    sides = ["--host", "--guest"] if host else ["--guest"]
    return [
        "perf", "kvm", *sides, "record", "-e", event, "-F", str(frequency), "-m", str(pages),
        *which, "-o", "-",
    ]  # fmt: skip


def exit_command(
    architecture: str, event: ExitEvent = ExitEvent.VMEXIT, *, pid: int | None = None
) -> list[str]:
    """The perf that records every event of one measurement into its standard output.

    Raises:
        UsageError: the architecture has no such event.
    """
    names = sorted({step.tracepoint for step in plan(known_architecture(architecture), event)})
    which = ["-p", str(pid)] if pid is not None else ["-a"]
    chosen = [part for name in names for part in ("-e", name)]
    return ["perf", "record", "-R", "-c", "1", "-m", str(_EXIT_PAGES), *chosen, *which, "-o", "-"]


class RunningPerf:
    """A perf that writes a recording into a pipe.

    Args:
        command: how to start it.

    Raises:
        TargetError: there is no perf.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._asked_to_end = False
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115  closed by `finish`
        try:
            # A session of its own: the terminal's ^C is ours to handle, and to pass on.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                start_new_session=True,
            )
        except OSError as error:
            self._complaints.close()
            raise TargetError(
                f"{command[0]} cannot be started: {error.strerror}",
                "Install perf (linux-perf, linux-tools or perf in your distribution).",
            ) from error

    @property
    def output(self) -> BinaryIO:
        """What it records."""
        return cast("BinaryIO", self._process.stdout)

    def stop(self) -> None:
        """Ask it to write what it has and end. May be called from any thread."""
        if self._asked_to_end:
            return
        self._asked_to_end = True
        self._process.send_signal(signal.SIGINT)
        killer = threading.Timer(_GRACE, self._process.kill)
        killer.daemon = True
        killer.start()

    def finish(self) -> None:
        """Wait for its end, after its output has ended or nobody wants it.

        Raises:
            PermissionProblem: the system did not let it record.
            TargetGone: it failed for another reason, unasked.
        """
        self.output.close()
        if self._process.poll() is None and not self._asked_to_end:
            try:
                self._process.wait(_GRACE)  # its output has ended, so it is about to
            except subprocess.TimeoutExpired:
                self.stop()
        try:
            code = self._process.wait(2 * _GRACE)
            self._complaints.seek(0)
            said = self._complaints.read(1 << 16).decode("utf-8", "replace")
        finally:
            self._complaints.close()
        if code and not self._asked_to_end:
            raise self._failure(code, said)

    def _failure(self, code: int, said: str) -> Exception:
        words = " ".join(said.split())
        if len(words) > _TAIL:
            words = "… " + words[-_TAIL:].partition(" ")[2]
        last = printable(words)
        if _DENIED.search(said):
            level = _PARANOID.read_text().strip() if _PARANOID.exists() else "unknown"
            return PermissionProblem(
                f"perf may not record here (kernel.perf_event_paranoid is {level}): {last}",
                "Run gprof as root, or allow it once with: "
                "sudo sysctl kernel.perf_event_paranoid=-1",
            )
        return TargetGone(
            f"perf ended with code {code}: {last}",
            f"Try it alone: {' '.join(self._command)} > /dev/null",
        )


class PerfLive:
    """Guest samples of a perf that runs on this host now, as a `Source`.

    Args:
        command: how to start it; see `sample_command` and `exit_command`.
        host: take the host's own samples too.
        exits: take the guest's pc at every VM exit instead of samples.

    Raises:
        TargetError: there is no perf, or it failed at once.
        PermissionProblem: the system does not let it record.
    """

    def __init__(self, command: Sequence[str], *, host: bool = False, exits: bool = False) -> None:
        self._running = RunningPerf(command)
        try:
            self._file = PerfFile(
                self._running.output,
                host=host,
                exits=exits,
                name=" ".join(command[1:]),  # every view says that it is perf
                arguments_of=arguments_of,
            )
        except PerfDataError:
            self._running.finish()
            raise

    def batches(self) -> Iterator[SampleBatch]:
        """Batches as perf writes them; see `Source.batches`."""
        try:
            yield from self._file.batches()
        finally:
            self._running.finish()

    def guests(self) -> tuple[PerfGuest, ...]:
        """Every guest met so far, by number."""
        return self._file.guests()

    @property
    def architecture(self) -> str:
        """Of this host; empty until perf told it."""
        return self._file.architecture

    def facts(self) -> SourceFacts:
        """What is known now; see `Source.facts`."""
        return self._file.facts()

    def close(self) -> None:
        """Let perf write what it has and end; see `Source.close`."""
        self._running.stop()


def arguments_of(pid: int) -> list[bytes]:
    """The command line of a process of this host; empty where it is gone or hidden."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
