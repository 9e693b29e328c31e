"""The bundled guest while gprof records it, with a hand on each: guest, monitor, gprof, file."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gprof.recording.reader import read
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_note, await_samples, recorded
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor

#: The ways to sample it, as `WatchedDemo.addresses` has them.
WAYS = ("stub", "monitor", "both")


@dataclass(frozen=True, slots=True)
class RecordedDemo:
    """A recording that goes on.

    Attributes:
        guest: who is recorded.
        monitor: of the guest, for the test.
        process: gprof.
        path: of the recording.
    """

    guest: WatchedDemo
    monitor: Monitor
    process: subprocess.Popen[str]
    path: Path

    def await_more(self, samples: int) -> None:
        await_samples(self.path, recorded(self.path) + samples)

    def await_note(self, words: str) -> None:
        await_note(self.path, words)

    def ended(self, number: int | None = signal.SIGINT) -> tuple[int, str]:
        """Exit code and what was said, after a signal (None: by itself)."""
        code, _, said = end(self.process, number)
        return code, said

    def is_whole(self) -> bool:
        """Whether the recording was brought to its end."""
        found = read(self.path)
        return len(found.samples) >= 50 and not any("no end" in n for n in found.facts.notes)


@contextmanager
def recorded_demo(
    path: Path, way: str, *options: str | Path, qemu: tuple[str, ...] = ()
) -> Iterator[RecordedDemo]:
    """A guest of its own, recorded since so many samples that there is something to lose.

    Args:
        path: of the recording.
        way: see `WAYS`.
        options: more for gprof.
        qemu: more for QEMU.
    """
    with WatchedDemo(*qemu) as guest, Monitor(guest.other_address) as monitor:
        # Whatever stops cost on this host, the way is to stay the one that is tested.
        usual = (*guest.addresses(way), *PCS_ONLY, "--max-halted", "100")
        with started("record", *usual, *options, "-o", path) as process:
            if "-S" not in qemu:
                await_samples(path, 50)
            yield RecordedDemo(guest, monitor, process, path)
