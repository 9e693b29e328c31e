"""What QEMU's own log says was executed."""

from __future__ import annotations

import mmap
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.shares import name_numbers, percent
from gprof.attach import Attached
from tests.monitor import Monitor

#: `Trace 0: 0x7fcb3c11aac0 [0000000000000000/ffffffff81000c48/0000c0b0/ff080200] do_work`: vcpu,
#: translation, [cs_base/pc/flags/cflags] (log_cpu_exec in accel/tcg/cpu-exec.c of QEMU 7.2).
_TRACE = re.compile(rb"^Trace \d+: 0x[0-9a-f]+ \[[0-9a-f]+/([0-9a-f]{16})/", re.MULTILINE)


class Logging(Protocol):
    """A guest with a monitor that is free."""

    @property
    def other_address(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Executed:
    """How often the blocks of each function ran.

    Attributes:
        percent: by name, and of all others but idling ones at the end.
        lines: of the log.
        between: CLOCK_MONOTONIC at its beginning and at its end.
    """

    percent: NDArray[np.float64]
    lines: int
    between: tuple[int, int]


def executed_shares(
    guest: Logging, attached: Attached, names: Sequence[str], seconds: float
) -> Executed:
    """Have QEMU log for so long, and count."""
    log = Path(guest.other_address).with_name("executed")
    with Monitor(guest.other_address) as monitor:

        def order(line: str) -> None:
            said = monitor.execute("human-monitor-command", **{"command-line": line})
            if said.strip():
                raise SystemExit(f"QEMU does not log: {said.strip()}")

        order(f"logfile {log}")
        order("log exec,nochain")
        # Blocks that run into one another already do so until they are left.
        time.sleep(0.3)
        begun = time.monotonic_ns()
        skipped = log.stat().st_size
        time.sleep(seconds)
        ended = time.monotonic_ns()
        order("log none")
    counted: Counter[bytes] = Counter()
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        # A line that was begun before is passed over.
        for found in _TRACE.finditer(text, skipped):
            counted[found[1]] += 1
    log.unlink()
    pcs = np.array([int(pc, 16) for pc in counted], np.uint64)
    weights = np.array(list(counted.values()), np.int64)
    numbers = name_numbers(attached, pcs, [*names, "default_idle"])
    sums = np.bincount(numbers, weights, len(names) + 2).astype(np.int64)
    without_idle = np.append(sums[: len(names)], sums[-1])
    return Executed(percent(without_idle), int(weights.sum()), (begun, ended))
