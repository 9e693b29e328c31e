"""How much slower a guest works while gprof samples it.

    python -m benchmarks.slowdown [--short] [--seconds 30] [--hz 99] [--hz 499] [--way monitor]
                                 [--max-halted 1] [--precedence] [--no-ioeventfd]

A Linux guest with two vcpus under TCG works on one of them, the other one is idle: on sums (the
processor alone), on reading and writing a byte (system calls), on writes to its disk past its page
cache. gprof is attached and samples for a tenth of a second (half of one where a budget lowers the
rate), then it does not, and so on in random order, hundreds of pairs; how much work was done in
each slice is read out of the guest's memory. No budget holds a way back, unless `--max-halted`
gives one in percent, as that of gprof's commands: then less than 99 Hz is reached.

`slower %` is how much more time the guest needs for the same work while it is sampled, by the
clock on the wall, and its 95 % confidence interval. A target is met or missed where the whole
interval says so. What it consists of, by the host's account of the vcpu's thread:

- `off cpu`: points of time in which it had no processor of the host, with an interval: what the
  host's speed of the moment does not touch. Of these
  - `stood`: it did not want one: it was halted, or waited for a disk,
  - `waited`: it wanted one, and others had them.
- `per cpu`: how much more time of a processor the same work took.

`told` is in how many points of time gprof itself says that it kept the guest from running.

`gprof` and `QEMU` are the time of a processor that a sample costs: of this process, and of QEMU's
threads that are no vcpus. Last come both vcpus at work, which leaves a host of two processors none
for gprof, and being attached without sampling.

At every stop QEMU takes the eventfds of all queues of virtio devices away, and makes them anew
when the guest goes on, before and after the times that its events tell. `--no-ioeventfd` starts
the guest without them. With `--precedence` the host treats both as if it had nothing else to do
(root alone may ask for that). `--short` shows that it runs, at 99 Hz, and measures nothing.

Needs the Debian kernel of the tests, downloaded once, a static busybox, and a C compiler.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np

from benchmarks.precedence import take_precedence
from benchmarks.profiled import LOOKED_AT_BY, attached_by
from benchmarks.slices import Counters, Pairs
from benchmarks.working_guest import WorkingGuest
from gprof.sampling_way import source_of
from tests.guests.debian_kernel import KernelUnavailable, fetch_kernel
from tests.guests.linux import GuestFailed, find_busybox

WORKS = {"processor": "p", "system calls": "s", "disk writes": "d"}
#: By way at 99 Hz, percent.
TARGETS = {"stub": 2.0, "monitor": 1.0}
RATES = (99.0, 499.0)
#: Seconds that a batch of a source covers.
_BATCH = 0.1
#: Seconds of a slice where nothing is sampled, and attaching lies between slices.
_ATTACHED = 1.0
#: Batches before the first slice, and pairs that a comparison has at least.
_WARM_UP, _FEWEST = 5, 2

#: What is counted.
TIME, DONE, RAN, WAITED, GPROF, QEMU, SAMPLES, TOLD = range(8)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        work: a key of `WORKS`.
        vcpus: how many of the guest's two work.
        way: of `LOOKED_AT_BY`.
        hz: samples a second; 0 for being attached alone.
        max_halted: share of time that the guest may be kept from running.
    """

    work: str
    vcpus: int
    way: str
    hz: float
    max_halted: float

    @property
    def batches(self) -> int:
        """How many make a slice: at a low rate a sample or two would tell of the slice before."""
        return 1 if self.max_halted == 1.0 else 5


class Meter:
    """Counts what a guest does and what it is given.

    Args:
        guest: to look at.
        counters: of its workers, one on each of the first vcpus.

    Attributes:
        samples: how often it was sampled; for others to set.
        told_ns: how long it was kept from running, by gprof's word; for others to set.
    """

    def __init__(self, guest: WorkingGuest, counters: Sequence[memoryview]) -> None:
        self._guest = guest
        self._counters = counters
        self.samples = self.told_ns = 0
        # include/linux/posix-timers_types.h: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED)
        self._clock = ~guest.process << 3 | 2

    def look(self) -> Counters:
        """The counters now, times in seconds; those of vcpus are means over the ones at work."""
        vcpus = self._guest.threads.read()
        at_work = [vcpus[i] for i in range(len(self._counters))]
        ran = sum(vcpu.ran_ns for vcpu in at_work) / 1e9
        found = np.zeros(8)
        found[TIME] = time.monotonic()
        found[DONE] = sum(counter[0] for counter in self._counters)
        found[RAN] = ran / len(at_work)
        found[WAITED] = sum(vcpu.waited_ns for vcpu in at_work) / 1e9 / len(at_work)
        found[GPROF] = time.process_time()
        found[QEMU] = time.clock_gettime(self._clock) - sum(v.ran_ns for v in vcpus.values()) / 1e9
        found[SAMPLES] = self.samples
        found[TOLD] = self.told_ns / 1e9
        return found


def sampled(guest: WorkingGuest, row: Row, meter: Meter) -> Iterator[Callable[[bool], Counters]]:
    """Slices with and without samples, gprof being attached all the time."""
    attached = attached_by(row.way, guest, guest.vmlinux, guest.kallsyms)
    source = source_of(attached, hz=row.hz, max_halted=row.max_halted)
    # A source samples only while somebody waits for its next batch.
    with closing(source.batches()) as batches:

        def sample() -> None:
            next(batches)
            facts = source.facts()
            meter.samples, meter.told_ns = facts.taken, facts.halted_ns

        def slice_of(sampling: bool) -> Counters:
            if sampling:
                sample()  # first of all what fell due while nobody waited
            before = meter.look()
            for _ in range(row.batches):
                if sampling:
                    sample()
                else:
                    time.sleep(_BATCH)
            return meter.look() - before

        for _ in range(_WARM_UP):
            slice_of(True)
        yield slice_of


def idle(guest: WorkingGuest, row: Row, meter: Meter) -> Iterator[Callable[[bool], Counters]]:
    """Slices with and without gprof being attached, which does nothing."""

    def slice_of(attach: bool) -> Counters:
        way = attached_by(row.way, guest, guest.vmlinux, guest.kallsyms) if attach else None
        with closing(way) if way is not None else nullcontext():
            time.sleep(_BATCH)
            before = meter.look()
            time.sleep(_ATTACHED)
            return meter.look() - before

    yield slice_of


def measure(
    guest: WorkingGuest, rows: Sequence[Row], seconds: float, *, precedence: bool = False
) -> None:
    """Print a row for each comparison."""
    for row in rows:
        with guest.working(WORKS[row.work], row.vcpus) as counters:
            if precedence:
                take_precedence(guest.process, guest.vcpu_threads[: row.vcpus])
            meter = Meter(guest, counters)
            pairs = Pairs(random.Random(1))
            with contextmanager(sampled if row.hz else idle)(guest, row, meter) as slice_of:
                end = time.monotonic() + seconds
                while time.monotonic() < end or not enough(row, pairs):
                    pairs.take(slice_of)
        print(told(row, pairs), flush=True)


def enough(row: Row, pairs: Pairs) -> bool:
    """Whether there is anything to compare: a starved guest may do nothing in a slice."""
    if len(pairs) < _FEWEST:
        return False
    without, within = pairs.sums
    return bool(without[DONE] and within[DONE] and (within[SAMPLES] or not row.hz))


def slower(without: Counters, within: Counters) -> Counters:
    """How much more time the same work takes, percent."""
    return _more(TIME, without, within)


def off_cpu(without: Counters, within: Counters) -> Counters:
    """In how much more of the time there was no processor, points of a hundred."""
    return 100 * (without[..., RAN] / without[..., TIME] - within[..., RAN] / within[..., TIME])


def _more(of: int, without: Counters, within: Counters) -> Counters:
    return 100 * (within[..., of] / within[..., DONE] * without[..., DONE] / without[..., of] - 1)


_COLUMNS = "{:<13}{:>5} {:<8}{:>4}{:>8}{:>6}{:>24}{:>24}{:>7}{:>8}{:>9}{:>7}{:>7}{:>6}  {}"
HEADING = "\n".join(
    _COLUMNS.format(*words).rstrip()
    for words in (
        ("work", "vcpus", "way", "Hz", "reached", "pairs", "slower", "off cpu", "stood", "waited",
         "per cpu", "told", "gprof", "QEMU", ""),
        ("", "", "", "", "Hz", "", "%", *["points"] * 3, "%", "points", "µs", "µs", ""),
    )
)  # fmt: skip


def told(row: Row, pairs: Pairs) -> str:
    """A row of the table."""
    without, within = pairs.sums
    added = within / within[TIME] - without / without[TIME]
    found, lost = pairs.compare(slower), pairs.compare(off_cpu)
    taken = within[SAMPLES]
    costs = [
        f"{1e6 * added[of] * within[TIME] / taken:.0f}" if taken else "" for of in (GPROF, QEMU)
    ]
    verdict = ""
    if row.hz == RATES[0] and row.vcpus == 1:
        target = TARGETS[row.way]
        verdict = f"target {target:g}: {found.holds(target)}"
    return _COLUMNS.format(
        row.work,
        row.vcpus,
        row.way,
        f"{row.hz:.0f}" if row.hz else "none",
        f"{taken / within[TIME]:.0f}" if row.hz else "",
        len(pairs),
        str(found),
        str(lost),
        f"{lost.middle - 100 * added[WAITED]:.2f}",
        f"{100 * added[WAITED]:.2f}",
        f"{float(_more(RAN, without, within)):.2f}",
        f"{100 * within[TOLD] / within[TIME]:.2f}" if row.hz else "",
        *costs,
        verdict,
    ).rstrip()


def rows_of(rates: Sequence[float], ways: Sequence[str], max_halted: float) -> list[Row]:
    """All comparisons, those of the targets first."""
    rows = [Row(work, 1, way, hz, max_halted) for hz in rates for work in WORKS for way in ways]
    rows += [Row("processor", 2, way, hz, max_halted) for hz in rates[:1] for way in ways]
    return rows + [Row("processor", 1, way, 0, max_halted) for way in ways]


def started(*, ioeventfd: bool) -> WorkingGuest:
    """A guest that waits for work.

    Args:
        ioeventfd: see `WorkingGuest`.

    Raises:
        SystemExit: something that it needs is missing.
    """
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = fetch_kernel()
    except KernelUnavailable as reason:
        raise SystemExit(str(reason)) from None
    attempts = 3
    for attempt in range(1, attempts + 1):
        guest = WorkingGuest(kernel, busybox)
        guest.ioeventfd = ioeventfd
        try:
            return guest.__enter__()
        except GuestFailed:  # multi-threaded TCG trips over a kernel that patches itself
            if attempt == attempts:
                raise
    raise AssertionError("attempts must be positive")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--hz", type=float, action="append")
    parser.add_argument("--way", choices=LOOKED_AT_BY, action="append")
    parser.add_argument("--max-halted", type=float, default=100.0)
    parser.add_argument("--precedence", action="store_true")
    parser.add_argument("--no-ioeventfd", action="store_true")
    given = parser.parse_args()
    guest = started(ioeventfd=not given.no_ioeventfd)
    try:
        guest.prepare()
        print(
            f"{platform.node()}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, "
            f"{time.strftime('%Y-%m-%d')}; two vcpus under TCG"
        )
        print(HEADING)
        seconds = 0.0 if given.short else given.seconds
        rates = given.hz or RATES[: 1 if given.short else None]
        measure(
            guest,
            rows_of(rates, given.way or list(LOOKED_AT_BY), given.max_halted / 100),
            seconds,
            precedence=given.precedence,
        )
    finally:
        guest.close()


if __name__ == "__main__":
    main()
