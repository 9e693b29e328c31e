"""Every export of a large profile: processor time, peak memory, size; and the page in a browser.

    PYTHONPATH=. .venv/bin/python benchmarks/export.py
    PYTHONPATH=. .venv/bin/python benchmarks/export.py --formats html,pprof --samples 100000

Each export runs in a process of its own that makes the same profile first: a million samples on
50,000 distinct stacks of about ten frames, a few of them hot and most of them rare. What is
printed is of the export alone, looking up every address included; memory is the process's peak
above what the profile itself takes. Where Chromium is installed, the page is opened, and the
milliseconds are printed from its first line until it is drawn, and until it is zoomed.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from gprof.export.formats import FORMATS
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.sampling.source import COLUMN_TYPES, SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic

KERNEL = 0xFFFFFFFF81000000
FUNCTIONS = 5000
SIZE = 256  # bytes of a function


def large(samples: int, stacks: int) -> Profile:
    """A profile of ten minutes and four vcpus, the same one for the same numbers."""
    chance = random.Random(0)
    paths: list[tuple[int, ...]] = []
    while len(paths) < stacks:
        # A call tree: most stacks go on where another one ends.
        start = chance.choice(paths) if paths and chance.random() < 0.95 else ()
        if len(start) >= 40:
            start = start[: chance.randrange(2, 20)]
        paths.append((*start, chance.randrange(FUNCTIONS)))
    table = StackTable()
    pcs = [tuple(KERNEL + SIZE * f + 16 for f in reversed(path)) for path in paths]
    ids = np.array([table.add(stack) for stack in pcs])
    leaves = np.array([stack[0] for stack in pcs], np.uint64)
    numbers = np.random.default_rng(0)
    heat = np.arange(1, stacks + 1) ** -0.7
    picked = numbers.choice(stacks, samples, p=heat / heat.sum())
    picked[:stacks] = np.arange(min(stacks, samples))
    columns = {
        "time": np.sort(numbers.integers(0, 600 * 10**9, samples)),
        "pc": leaves[picked],
        "stack": ids[picked],
        "vcpu": numbers.integers(0, 4, samples),
        "mode": np.ones(samples),
        "weight": np.ones(samples),
    }
    empty = np.zeros(samples)
    batch = SampleBatch(
        *(columns.get(name, empty).astype(kind) for name, kind in COLUMN_TYPES.items())
    )
    symbols = SymbolTable.of(
        [Symbol(f"function_number_{i}", KERNEL + SIZE * i, KERNEL + SIZE * (i + 1))
         for i in range(FUNCTIONS)]
    )  # fmt: skip
    image = LoadedImage("[kernel]", ImageKind.KERNEL, KERNEL, KERNEL + SIZE * FUNCTIONS, symbols, 0)
    return replace(synthetic(0), samples=batch, stacks=table, spaces={0: AddressSpace([image])})


def peak_mb() -> float:
    """The most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure(form: str, samples: int, stacks: int, path: Path) -> None:
    """Export once and print a line."""
    profile = large(samples, stacks)
    exporter = FORMATS[form].make()
    before, processor, clock = peak_mb(), time.process_time(), time.perf_counter()
    with path.open("wb") as out:
        exporter.write(profile, out)
    print(
        f"{form:12} processor {time.process_time() - processor:6.2f} s"
        f"  elapsed {time.perf_counter() - clock:6.2f} s"
        f"  memory +{peak_mb() - before:5.0f} MB  size {path.stat().st_size / 1e6:7.1f} MB"
    )


_PROBE = """<script>
const marks = [];
const mark = (what) => {
  document.body.offsetHeight;  // everything is laid out
  marks.push(`${what} ${(performance.now() - begun).toFixed(0)} ms`);
};
mark("drawn");
const second = document.querySelectorAll("#flame .frame")[1];
second.dispatchEvent(new MouseEvent("click", {bubbles: true}));
mark("zoomed");
document.querySelector("#filters input").click();
mark("filtered");
document.documentElement.setAttribute("data-marks", marks.join(", "));
</script></body>"""


def open_page(path: Path) -> None:
    """Open the page in Chromium and print when it could be used."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("page         chromium is not installed")
        return
    text = path.read_text()
    begin = "<script>const begun = performance.now();</script>"
    text = re.sub("<meta http-equiv[^>]*>", begin, text, count=1)
    probed = path.with_name("probed.html")
    probed.write_text(text.replace("</body>", _PROBE))
    dump = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900",
         f"--user-data-dir={path.parent / 'browser'}", "--dump-dom", probed.as_uri()],
        capture_output=True, text=True, check=True, timeout=300,
    ).stdout  # fmt: skip
    marks = re.search('data-marks="([^"]*)"', dump)
    print(f"page         {marks[1] if marks else 'did not get ready'}")


def main() -> None:
    """Measure every format, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--stacks", type=int, default=50_000)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure(given.one, given.samples, given.stacks, given.into)
        return
    print(f"{given.samples:,} samples, {given.stacks:,} stacks")
    with tempfile.TemporaryDirectory() as folder:
        for form in given.formats.split(","):
            out = Path(folder) / f"out.{form}"
            command = [sys.executable, __file__, "--one", form, "--into", str(out),
                       "--samples", str(given.samples), "--stacks", str(given.stacks)]  # fmt: skip
            subprocess.run(command, check=True)
            if form == "html":
                open_page(out)
            out.unlink()


if __name__ == "__main__":
    main()
