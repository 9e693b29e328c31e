"""How soon `gprof --help` answers, beside a Python that only imports click, in one run.

    python -m benchmarks.startup [--short]

Both are whole processes, taken in turns; wall-clock time, the median of eleven runs (`--short`:
five).
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

RUNS, SHORT_RUNS = 11, 5
#: How many times as long as an import of click the help may take.
TARGET = 2.5

COMMANDS: dict[str, Sequence[str]] = {
    "python -c 'import click'": (sys.executable, "-c", "import click"),
    "python -m gprof --help": (sys.executable, "-m", "gprof", "--help"),
}


def seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main(arguments: list[str]) -> None:
    if set(arguments) - {"--short"}:
        raise SystemExit(__doc__)
    runs = SHORT_RUNS if arguments else RUNS
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for name, command in COMMANDS.items():
        seconds(command)  # files get into the page cache, bytecode is compiled
        taken[name].clear()
    for _ in range(runs):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in taken.items()}
    for name, median in medians.items():
        print(f"{name:<28}{1000 * median:8.1f} ms")
    plain, ours = medians.values()
    verdict = "met" if ours <= TARGET * plain else "MISSED"
    print(f"{'ratio':<28}{ours / plain:8.2f}     target {TARGET}: {verdict}")


if __name__ == "__main__":
    main(sys.argv[1:])
