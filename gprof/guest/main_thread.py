"""What QEMU's main thread computes: it stops the guest, answers the stub, and resumes the guest.

The kernel counts it as for the threads of vcpus (`gprof.guest.vcpu_threads`). The main thread of a
process has the id of the process, and it is the one that serves the stub (`main_loop` in
softmmu/runstate.c of QEMU 7.2).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from gprof.guest.vcpu_threads import time_of


class MainThread:
    """Reads its counter, a few microseconds each time.

    Args:
        file: open for reading; closed with this.
    """

    def __init__(self, file: int) -> None:
        self._file = file

    @classmethod
    def of_process(cls, process: int, root: Path = Path("/proc")) -> Self | None:
        """That of a QEMU on this host; None where it cannot be seen.

        Args:
            process: its id; 0 where that is not known.
            root: where the processes are.
        """
        path = root / str(process) / "task" / str(process) / "schedstat"
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) if process else None
        except OSError:
            return None

    def ran_ns(self) -> int | None:
        """How long it has had a processor; None where it has ended.

        The kernel adds to it when the thread goes to sleep, and with every tick of its clock.
        """
        time = time_of(self._file)
        return time.ran_ns if time is not None else None

    def close(self) -> None:
        """Let go of the file. May be called again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
