"""VM exits while they are recorded, or out of a file: read in the background, counted on demand."""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from gprof.errors import FormatError, GprofError, UsageError
from gprof.given_symbols import GivenSymbols
from gprof.perf_spaces import PerfSpaces
from gprof.perfdata import Feature, PerfData
from gprof.profile.exit_table import ExitGroup, ExitSort, ExitTable, exit_table
from gprof.profile.exits import ExitReader
from gprof.recording.recognition import kind_of
from gprof.sampling.exit_events import ExitEvent, plan
from gprof.sampling.interruptible import InterruptiblePipe, pipe_of
from gprof.sampling.perf_guests import PerfGuest, PerfGuests
from gprof.sampling.perf_live import RunningPerf, arguments_of, exit_command
from symbols.names import printable


class ExitWatch:
    """The exits of one recording, complete or growing.

    Args:
        event: what to measure.
        given: symbol files, for rows by symbol.
        path: the recording, `-` for standard input; a perf of our own is started where None.
        pid: with a perf of our own, of one hypervisor; all guests of the host where None.

    Raises:
        FormatError: the file is no perf.data.
        UsageError: there is none.
        TargetError, PermissionProblem: perf cannot be started.
    """

    def __init__(
        self,
        event: ExitEvent,
        given: GivenSymbols,
        path: Path | None,
        *,
        pid: int | None = None,
    ) -> None:
        self._running: RunningPerf | None = None
        self._pipe: InterruptiblePipe | None = None
        if path is None:
            self._running = RunningPerf(exit_command(platform.machine(), event, pid=pid))
            self._pipe = InterruptiblePipe(self._running.output.fileno())
            perf = self._opened(self._running, self._pipe)
        elif str(path) == "-":
            stdin = sys.stdin.buffer
            self._pipe = pipe_of(stdin)
            perf = PerfData.from_file(cast("BinaryIO", self._pipe or stdin))
        else:
            perf = PerfData.open(_checked(path))
        self._perf = perf
        self._guests = PerfGuests(perf, arguments_of if self._running else None)
        self._reader = ExitReader(perf, event, self._guests)
        self._spaces = PerfSpaces(given)
        self._failure: GprofError | None = None
        self._thread = threading.Thread(target=self._read, name="exits", daemon=True)
        self._thread.start()

    @staticmethod
    def _opened(running: RunningPerf, pipe: InterruptiblePipe) -> PerfData:
        try:
            return PerfData.from_file(cast("BinaryIO", pipe))
        except GprofError:
            running.finish()  # says why perf gave nothing
            raise

    def _read(self) -> None:
        try:
            for _ in self._reader.read():
                pass
        except GprofError as error:
            self._failure = error
        finally:
            self._perf.close()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the recording; whether it has come.

        Raises:
            GprofError: the recording is damaged, or perf failed.
        """
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        if self._running is not None:
            running, self._running = self._running, None
            running.finish()
        if self._failure is not None:
            raise self._failure
        return True

    def stop(self) -> None:
        """End a perf of our own, or a stream; `wait` then comes to its end."""
        if self._running is not None:
            self._running.stop()
        elif self._pipe is not None:
            self._pipe.interrupt()

    def table(self, by: Sequence[ExitGroup], sort: ExitSort) -> ExitTable:
        """What was counted until now.

        Raises:
            SymbolsError: a symbol file is of another kernel, or of another boot.
        """
        exits, spaces = self._reader.exits(), {}
        if ExitGroup.SYMBOL in by:
            spaces = dict(self._spaces.follow(self)[1])
            upper = exits.pc >> np.uint64(63) > 0
            self._spaces.refuse_doubtful(exits.guest, exits.pc, upper)
        return exit_table(
            exits,
            self._reader.reasons(),
            by=by,
            sort=sort,
            spaces=spaces,
            lost=self._perf.lost,
            notes=self._reader.notes(),
        )

    def count(self, by: Sequence[ExitGroup]) -> ExitTable:
        """What was counted until now, the longest time first.

        Raises:
            SymbolsError: see `table`.
            FormatError: the recording is damaged.
        """
        if self._failure is not None:
            raise self._failure
        return self.table(by, ExitSort.TIME)

    @property
    def has_events(self) -> bool:
        """The recording has the events that are measured here, as far as its head tells."""
        try:
            steps = plan(self._reader.architecture, self._reader.event)
        except UsageError:
            return False
        names = {event.name.split(":u")[0] for event in self._perf.events}
        return {step.tracepoint for step in steps} <= names

    @property
    def architecture(self) -> str:
        """Of the host, as `uname -m` names it; empty where unknown."""
        return printable(self._perf.text(Feature.ARCH))

    def guests(self) -> tuple[PerfGuest, ...]:
        """Every guest met so far."""
        return self._guests.known()

    def names(self) -> dict[int, str]:
        """The names of the guests by id."""
        return {guest.id: guest.name for guest in self.guests()}


def _checked(path: Path) -> Path:
    """A path where perf has written something."""
    if kind_of(path) == "gprof":
        raise FormatError(
            f"{path} is a recording of gprof, which has samples and no VM exits",
            "Give what `perf kvm stat record` wrote.",
        )
    return path
