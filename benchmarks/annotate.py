"""How soon a hot function of a distribution's kernel is annotated, beside perf and objdump.

    python -m benchmarks.annotate VMLINUX [SYMBOL] [--short]

VMLINUX has debugging information; SYMBOL is `__schedule` where none is given. A recording of
gprof and a perf.data are made up with samples in it, so that no guest is needed. Each command is a
whole process from start to the last line of its output, in turns; wall-clock and processor time,
children included, the median of seven runs (`--short`: three) after one that warms the caches of
files and bytecode. gprof's own cache of lines is emptied before each run but for the row that says
that it is kept. perf is left out where it is not installed; `--objdump` of perf is objdump itself.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.recording.writer import save
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.elf import Image
from symbols.kernel_space import kernel_space
from symbols.memory import BytesMemory
from symbols.table import Symbol
from tests.perf_writer import GUEST_KERNEL, PerfFileWriter

RUNS, SHORT_RUNS = 7, 3
SAMPLES = 5000
#: Share of perf's and objdump's time that we hold ourselves to, and seconds for code alone.
SHARE, ALONE = 0.2, 0.4


@dataclass
class Command:
    """One way to annotate.

    Attributes:
        name: of the row.
        words: what is run.
        fresh: the cache of lines is emptied first.
        clock: seconds of each run.
        processor: of each run.
    """

    name: str
    words: Sequence[str | os.PathLike[str]]
    fresh: bool = True
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self, cache: Path) -> None:
        if self.fresh:
            shutil.rmtree(cache, ignore_errors=True)
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before, start = used(), time.perf_counter()
        done = subprocess.run(
            self.words, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment,
        )  # fmt: skip
        self.clock.append(time.perf_counter() - start)
        self.processor.append(used() - before)
        if done.stdout.count(b"\n") < 50:
            raise SystemExit(f"{self.name} printed no listing:\n{done.stdout.decode()}")
