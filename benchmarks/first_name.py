"""How soon gprof names the first sample of a guest that it has never seen, beside gdb.

    python -m benchmarks.first_name [--short] [KERNEL ...]

Debian guests with KASLR under TCG, one after the other, each at work on two vcpus: `amd64-6.1`,
whose own table of symbols lists data, and `arm64-6.1`, where it does not and more is searched for.
Each way is a process of its own, timed from its start to the line that says the name of a kernel
function that a vcpu was in: the kernel is found under its slide, verified, and its modules are
listed by then. gdb is given the same vmlinux and asked for one backtrace; of KASLR it knows
nothing, so its names would be wrong.

Wall-clock time, the median of seven runs (`--short`: one). Needs the Debian kernels of the tests,
downloaded once, a static busybox, and gdb for its row.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from tests.guests.debian_kernel import KERNELS, KernelUnavailable, fetch_kernel
from tests.guests.linux import GuestFailed, LinuxGuest, boot, find_busybox

RUNS, SHORT_RUNS = 7, 1
GUESTS = ("amd64-6.1", "arm64-6.1")
#: Seconds, by whether a vmlinux is given.
TARGETS = {"vmlinux": 1.5, "no file": 3.0}

NAME_ONE = """
import sys
from pathlib import Path
from gprof.attach import attach
from gprof.sampling_way import source_of
from gprof.sources import Sources
from gprof.guest.address import Address

way, where, vmlinux = sys.argv[1:]
sources = Sources.open(Path(vmlinux) if vmlinux else None, None, None)
stub, monitor = (Address.parse(where), None) if way == "stub" else (None, Address.parse(where))
attached = attach(stub, sources, monitor=monitor)
source = source_of(attached, hz=999, max_halted=1)
for batch in source.batches():
    found = next((at for at in map(attached.space.symbol_at, batch.pc.tolist()) if at), None)
    if found is not None:
        print(found.symbol.name, flush=True)
        source.close()
"""


def commands(guest: LinuxGuest) -> Mapping[str, Sequence[str]]:
    """What is timed, by name."""
    ours = [sys.executable, "-c", NAME_ONE]
    found = {
        f"{way}, {kind}": [*ours, way, where, str(guest.vmlinux) if kind == "vmlinux" else ""]
        for way, where in (("stub", guest.gdb_address), ("monitor", guest.qmp_address))
        for kind in TARGETS
    }
    gdb = shutil.which("gdb-multiarch") or shutil.which("gdb")
    if gdb is not None:
        asked = ("-ex", f"target remote {guest.gdb_address}", "-ex", "bt 1", "-ex", "detach")
        found["gdb, vmlinux"] = [gdb, "-nx", "-batch", *asked, str(guest.vmlinux)]
    return found


def seconds(command: Sequence[str]) -> float:
    """From the start of a process to its first line that tells of a function."""
    start = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        gdb = "-batch" in command
        said = next((line for line in process.stdout if not gdb or line.startswith("#0")), "")
        taken = time.perf_counter() - start
        process.stdout.read()
    if not said:
        raise SystemExit(f"{command[0]} named nothing")
    return taken


def measure(guest: LinuxGuest, runs: int) -> None:
    """Time every way of naming a function of one guest, and print what they took."""
    ways = commands(guest)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1 + runs):
        for name, command in ways.items():
            one = seconds(command)
            if number:  # before the first round, files get into the page cache
                taken[name].append(one)
    medians = {name: statistics.median(values) for name, values in taken.items()}
    peer = medians.get("gdb, vmlinux")
    print(f"{guest.kernel.release:<24}{'median':>9}{'worst':>9}{'to gdb':>9}   target")
    for name, median in medians.items():
        ratio = f"{median / peer:9.2f}" if peer else " " * 9
        target = TARGETS[name.partition(", ")[2]]
        verdict = "" if name.startswith("gdb") else f"{target} s: "
        if verdict:
            verdict += "met" if median <= target else "MISSED"
        print(f"  {name:<22}{median:7.2f} s{max(taken[name]):7.2f} s{ratio}   {verdict}")


def main(arguments: list[str]) -> None:
    short = "--short" in arguments
    chosen = [argument for argument in arguments if argument != "--short"] or GUESTS
    if set(chosen) - set(KERNELS):
        raise SystemExit(__doc__)
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("no static busybox is installed")
    for key in chosen:
        try:
            guest = boot(fetch_kernel(KERNELS[key]), busybox)
        except (KernelUnavailable, GuestFailed) as reason:
            raise SystemExit(str(reason)) from None
        try:
            measure(guest, SHORT_RUNS if short else RUNS)
        finally:
            guest.close()


if __name__ == "__main__":
    main(sys.argv[1:])
