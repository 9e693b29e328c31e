"""The bundled guest while gprof records it, with a hand on each: guest, monitor, gprof, file."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gprof.profile.profile import Profile
from gprof.recording.reader import read
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_note, await_recording, await_samples, recorded, says
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

    def have_it_stand(self, order: Callable[[], object], words: str) -> None:
        """Have the guest stopped, and wait until gprof says why.

        QEMU does nothing to stop a guest that a debugger has stopped just then, be it for a
        `stop`, a shutdown or a panic, and the debugger, who cannot know, lets it run again. So
        whenever it runs the order is given anew.

        Args:
            order: what stops it.
            words: of gprof.
        """

        def told(profile: Profile) -> bool:
            if self.monitor.is_running():
                order()
            return says(profile, words)

        await_recording(self.path, told, f"the note {words!r}")

    def watch_it_stand(self) -> None:
        """See that the guest stands while gprof looks for a while whether it still does."""
        looked_ns = read(self.path).facts.held_ns + 1_000_000_000

        def looked(profile: Profile) -> bool:
            assert not any(self.monitor.is_running() for _ in range(100))
            return profile.facts.held_ns > looked_ns

        await_recording(self.path, looked, "a second for which gprof waits")

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
