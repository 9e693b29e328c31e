"""The search for the kernel of a guest that is starting, while that is sampled."""

from __future__ import annotations

import time

import numpy as np

from gprof.attach import Attached
from gprof.sampling.source import Mode, SampleBatch
from symbols.errors import MismatchError, SymbolsError

_SECOND = 1_000_000_000

#: How often the guest is searched, at first and at last; and how much longer than a search took is
#: waited for the next one.
_FIRST_NS, _LAST_NS = _SECOND // 5, 2 * _SECOND
_PAUSE = 4
#: So long files of another kernel are tried before the guest's own memory must do.
_MISMATCH_NS = 5 * _SECOND


class KernelSearch:
    """Looks for the kernel once samples show that one runs, and ever more seldom.

    Args:
        since_ns: when the guest began to start.
        running: whether it has; else it begins with its first sample.

    Attributes:
        began_ns: when the guest began to start, as far as is known.
        mismatch: why the kernel that was found is not that of the given files; else None.
    """

    def __init__(self, since_ns: int, *, running: bool) -> None:
        self.began_ns = since_ns
        self.mismatch: MismatchError | None = None
        self._running = running
        self._evidence = False  # samples show that a kernel runs
        self._pause_ns = _FIRST_NS
        self._due_ns = 0

    def look(
        self, batch: SampleBatch, attached: Attached, kernel_half: tuple[int, int]
    ) -> Attached | None:
        """The guest with its kernel; None where that is not found yet.

        Args:
            batch: what was sampled since the last look.
            attached: the guest as it is known.
            kernel_half: lowest and highest address that a kernel may have.

        Raises:
            TargetError: the guest has gone.
        """
        if len(batch) and not self._running:
            # Until then nobody had started it.
            self._running, self.began_ns = True, int(batch.time.min())
        low, high = kernel_half
        inside = (batch.pc >= np.uint64(low)) & (batch.pc <= np.uint64(high))
        inside &= np.isin(batch.mode, (Mode.KERNEL, Mode.IDLE))
        self._evidence = self._evidence or bool((inside | (batch.mode == Mode.USER)).any())
        began = time.monotonic_ns()
        if not self._evidence or began < self._due_ns:
            return None
        found = self._searched(attached, began)
        if found is None:
            now = time.monotonic_ns()
            self._due_ns = now + max(self._pause_ns, _PAUSE * (now - began))
            self._pause_ns = min(2 * self._pause_ns, _LAST_NS)
        return found

    def _searched(self, attached: Attached, now_ns: int) -> Attached | None:
        self.mismatch = None
        try:
            found = attached.again()
        except MismatchError as mismatch:
            # While a kernel unpacks itself its memory tells anything.
            if now_ns - self.began_ns < _MISMATCH_NS:
                return None
            self.mismatch = mismatch
            try:
                found = attached.again(attached.given.without_kernel())
            except SymbolsError:
                return None
        except SymbolsError:
            return None
        return found if found.slide is not None else None
