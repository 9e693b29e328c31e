"""VM exits that nobody counts before they are asked for: recording all of them costs the host."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from gprof.errors import GprofError
from gprof.exit_watch import ExitWatch
from gprof.profile.exit_table import ExitGroup, ExitTable


class ExitsOnDemand:
    """Begins to count when it is first asked what was counted. Any thread may ask.

    Args:
        begin: starts it; may raise `GprofError`, and is then not tried again.
    """

    def __init__(self, begin: Callable[[], ExitWatch]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._watch: ExitWatch | None = None
        self._failure: GprofError | None = None
        self._stopped = False

    def count(self, by: Sequence[ExitGroup]) -> ExitTable:
        """What was counted until now; see `ExitWatch.count`.

        Raises:
            GprofError: it could not begin, or has failed.
        """
        return self._begun().count(by)

    def names(self) -> dict[int, str]:
        """The names of the guests by id.

        Raises:
            GprofError: it could not begin.
        """
        return self._begun().names()

    def stop(self) -> None:
        """End it, if it ever began."""
        with self._lock:
            self._stopped = True
        if self._watch is not None:
            self._watch.stop()
            # What failed was told when it was asked for.
            with contextlib.suppress(GprofError):
                self._watch.wait()

    def _begun(self) -> ExitWatch:
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._watch is None:
                if self._stopped:
                    raise GprofError("the counting of exits has ended")
                try:
                    self._watch = self._begin()
                except GprofError as error:
                    self._failure = error
                    raise
            return self._watch
