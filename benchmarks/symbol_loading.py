"""How fast symbols are loaded and looked up, beside other ways to do the same, in one run.

    python -m benchmarks.symbol_loading VMLINUX [KALLSYMS]

VMLINUX is a distribution's kernel with symbols; KALLSYMS a copy of a guest's /proc/kallsyms, or
left out: then `nm -n VMLINUX` stands in for it. The text is repeated, at other addresses, until it
has 200,000 lines.
Each figure is processor time, which a busy machine falsifies least, the best of five runs, in a
process that has imported what it needs; what is measured on a part is scaled to the whole, and
the table says so.
"""

from __future__ import annotations

import bisect
import itertools
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from symbols.elf import Image
from symbols.kallsyms import Kallsyms
from symbols.table import SymbolTable

LINES = 200_000
LOOKUPS = 1_000_000
PART = 20_000
#: The seconds that we hold ourselves to.
TARGETS = {"vmlinux": 0.3, "kallsyms": 0.4, "lookups": 0.3}


def processor_seconds() -> float:
    """Processor time of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def best(measured: Callable[[], object], runs: int = 5) -> float:
    seconds = []
    for _ in range(runs):
        start = processor_seconds()
        measured()
        seconds.append(processor_seconds() - start)
    return min(seconds)


def row(what: str, ours: float, theirs: float | None = None, target: float | None = None) -> None:
    ratio = f"{theirs / ours:9.1f} x" if theirs is not None else f"{'':11}"
    other = f"{theirs:10.3f} s" if theirs is not None else f"{'':12}"
    limit = f"{target:7.1f} s {'met' if ours <= target else 'MISSED'}" if target else ""
    print(f"{what:<58}{ours:8.3f} s{other}{ratio}{limit}")


def elftools_part(path: Path) -> tuple[int, int]:
    """What pyelftools needs the first symbols: how many it read, and how many there are."""
    with path.open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        part = list(itertools.islice(table.iter_symbols(), PART))
        assert all(symbol.name is not None for symbol in part)
        return len(part), table.num_symbols()


def plain_parse(text: bytes) -> dict[str, int]:
    """The loop that everybody writes: no ends, no aliases, no modules, no checks."""
    found = {}
    for line in text.decode().splitlines():
        fields = line.split()
        if fields[1] in "tTwW":
            found[fields[2]] = int(fields[0], 16)
    return found


def repeated(text: bytes) -> bytes:
    """The text again and again, each time at other addresses, up to `LINES` lines."""
    whole = text
    copy = 1
    while whole.count(b"\n") < LINES:
        whole += re.sub(rb"(?m)^ffffffff", b"ffffff%02x" % (0xFF - copy), text)
        copy += 1
    return b"\n".join(whole.split(b"\n", LINES)[:LINES]) + b"\n"


def lookups(table: SymbolTable) -> tuple[float, float]:
    """A million random addresses: ours, and bisect in a loop on a part, scaled."""
    random = np.random.default_rng(1)
    low, high = int(table.start[0]), int(table.end.max())
    addresses = random.integers(low, high, LOOKUPS, np.uint64)
    ours = best(lambda: table.lookup(addresses))
    starts, some = table.start.tolist(), addresses[:PART].tolist()
    loop = best(lambda: [bisect.bisect_right(starts, address) for address in some])
    return ours, loop * LOOKUPS / PART


def main(arguments: list[str]) -> None:
    if not 1 <= len(arguments) <= 2:
        raise SystemExit(__doc__)
    vmlinux = Path(arguments[0])
    listing = subprocess.run(["nm", "-n", vmlinux], check=True, capture_output=True).stdout
    text = repeated(Path(arguments[1]).read_bytes() if arguments[1:] else listing)
    image = Image.open(vmlinux)
    megabytes = vmlinux.stat().st_size >> 20
    print(f"{vmlinux} ({megabytes} MB, {len(image.table)} functions); processor time, best of five")
    print(f"{'':<58}{'ours':>10}{'theirs':>12}{'ratio':>11}{'target':>9}")

    nm = best(lambda: subprocess.run(["nm", "-n", vmlinux], check=True, stdout=subprocess.DEVNULL))
    ours = best(lambda: Image.open(vmlinux).table)
    row("vmlinux: open and table, beside nm -n", ours, nm, TARGETS["vmlinux"])
    part, whole = elftools_part(vmlinux)
    slow = best(lambda: elftools_part(vmlinux), 1) * whole / part
    row(f"  beside pyelftools ({part} of {whole} symbols, scaled)", ours, slow)

    ours = best(lambda: Kallsyms.parse(text))
    row(f"kallsyms: {LINES} lines, beside a plain loop", ours, best(lambda: plain_parse(text)),
        TARGETS["kallsyms"])  # fmt: skip

    ours, loop = lookups(image.table)
    row(f"{LOOKUPS} lookups, beside bisect (on {PART}, scaled)", ours, loop, TARGETS["lookups"])
    name = image.table.names[len(image.table) // 2]
    fresh = Image.open(vmlinux)
    row("first address_of by name", best(lambda: fresh.address_of(name), 1))


if __name__ == "__main__":
    main(sys.argv[1:])
