"""How soon a hot function of a distribution's kernel is annotated, beside perf and objdump.

    python -m benchmarks.annotate VMLINUX [SYMBOL] [--short]

VMLINUX has debugging information; SYMBOL is `__schedule` where none is given. A recording of
gprof and a perf.data are made up with samples in it, so that no guest is needed. Each command is a
whole process from start to the last line of its output, in turns; wall-clock and processor time,
children included, the median of seven runs (`--short`: three) after one that warms the caches of
files and bytecode. gprof's own cache of lines is emptied before each run but for the row that says
that it is kept. perf and objdump are left out where they are not installed.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gprof.profile.profile import Guest, Profile
from gprof.recording.writer import save
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.elf import Image
from symbols.kernel_space import kernel_space
from symbols.memory import BytesMemory
from symbols.table import Symbol
from tests.perf_writer import attribute, comm, mapping, perf_file, sample

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
        done = subprocess.run(self.words, check=True, capture_output=True, env=environment)
        self.clock.append(time.perf_counter() - start)
        self.processor.append(used() - before)
        if done.stdout.count(b"\n") < 50:
            raise SystemExit(f"{self.name} printed no listing:\n{done.stdout.decode()}")


def used() -> float:
    """Processor time of the children that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def recording(image: Image, symbol: Symbol, pcs: Sequence[int], path: Path) -> None:
    """A recording of a guest whose kernel did not slide, with the function's code."""
    code = image.read(symbol.start, symbol.end - symbol.start)
    profile = Profile(
        SampleBatch.of(pcs, time=range(len(pcs))),
        SourceFacts("gdbstub", "benchmark"),
        {0: Guest(0, "guest", image.architecture, build_id=image.build_id)},
        {0: kernel_space(image=image)},
        texts={0: BytesMemory([(symbol.start, code)])},
    )
    save(profile, path)


def perf_data(image: Image, pcs: Sequence[int], path: Path) -> None:
    """The same samples as perf takes them of a host's kernel: it annotates no guest's."""
    start, end = image.text
    records = mapping(
        "<", "[kernel.kallsyms]_text", start, end - start, offset=start, pid=-1, misc=1
    ) + comm("<", 100, 101, "work")
    records += b"".join(sample(misc=1, ip=pc, time=i + 1) for i, pc in enumerate(pcs))
    path.write_bytes(perf_file(records, attributes=(attribute(flags=0),)))


def commands(vmlinux: str, symbol: Symbol, folder: Path) -> list[Command]:
    ours = [
        sys.executable, "-m", "gprof", "annotate", symbol.name,
        "-i", folder / "x.gprof", "--guestvmlinux", vmlinux,
    ]  # fmt: skip
    found = [
        Command("gprof annotate", ours),
        Command("gprof annotate, lines kept", ours, fresh=False),
        Command("gprof annotate --no-lines", [*ours, "--no-lines"]),
    ]
    if shutil.which("perf"):
        perf = ["perf", "annotate", "-i", folder / "x.data", "-k", vmlinux, "--stdio"]
        found.append(Command("perf annotate --stdio", [*perf, "-s", symbol.name]))
    if shutil.which("objdump"):
        span = [f"--start-address={symbol.start:#x}", f"--stop-address={symbol.end:#x}"]
        found.append(Command("objdump -dS of the range", ["objdump", "-dS", *span, vmlinux]))
    return found


def main(arguments: list[str]) -> None:
    runs = SHORT_RUNS if "--short" in arguments else RUNS
    named = [word for word in arguments if word != "--short"]
    if not 1 <= len(named) <= 2:
        raise SystemExit(__doc__)
    vmlinux, name = named[0], (*named, "__schedule")[1]
    image = Image.open(vmlinux)
    rows = image.table.names.find(name)
    if not rows:
        raise SystemExit(f"{vmlinux} has no {name}")
    symbol = image.table[rows[0]]
    random = np.random.default_rng(1)
    pcs = [
        symbol.start + at for at in random.integers(0, symbol.end - symbol.start, SAMPLES).tolist()
    ]
    megabytes = Path(vmlinux).stat().st_size >> 20
    print(f"{name}, {symbol.end - symbol.start} bytes, of a vmlinux of {megabytes} MB; load "
          f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        recording(image, symbol, pcs, folder / "x.gprof")
        perf_data(image, pcs, folder / "x.data")
        ways = commands(vmlinux, symbol, folder)
        for turn in range(runs + 1):
            for way in ways:
                way.run(folder / "cache")
                if not turn:  # files come into memory, bytecode is compiled
                    way.clock.clear()
                    way.processor.clear()
    print(f"{'':<28}{'clock':>10}{'processor':>12}")
    medians = {}
    for way in ways:
        medians[way.name] = statistics.median(way.clock)
        processor = statistics.median(way.processor)
        print(f"{way.name:<28}{medians[way.name]:8.2f} s{processor:10.2f} s")
    lined, _, alone, *others = medians.values()
    for other, theirs in zip(list(medians)[3:], others, strict=True):
        verdict = "met" if lined <= SHARE * theirs else "MISSED"
        print(f"of {other}: {lined / theirs:.2f}, target {SHARE}: {verdict}")
    print(f"instructions alone: target {ALONE} s: {'met' if alone <= ALONE else 'MISSED'}")


if __name__ == "__main__":
    main(sys.argv[1:])
