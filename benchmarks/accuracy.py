"""How near profiles come to the truth, by three truths that gprof has no part in.

    python -m benchmarks.accuracy [--short] [construction] [execution] [ticks]

Each truth is compared with profiles of the same time, by the stub and by the monitor, at 99 and
499 Hz:

- construction: the bundled guest works by the clock, for known shares of its time,
- execution: QEMU writes down every translation block that it runs (`-d exec,nochain`, switched on
  by the monitor while gprof samples). Each line costs far more than the block, so the number of
  lines is the time; that checks that a sample is charged to the function that really ran,
- ticks: the kernel of a Linux guest counts for itself where its timer finds it (`profile=2`).
  The tick is an interrupt: what runs with interrupts off it never sees, and charges to the place
  where they are switched on again. So there is a second row for the stub: its samples with
  interrupts on, beside the ticks that do not lie right behind a `sti` or `popf`.

`overlap` is the sum over all functions of the smaller of two shares, with a 95 % confidence
interval by a bootstrap over blocks of time; `worst` the largest difference in points; `±` half of
a share's interval. Idle time is left out everywhere. For the ticks, `by chance` is the overlap of
two equal distributions that were sampled as often as these.

Takes some nine minutes; with `--short` a fifth of that. The ticks need the Debian kernel of the
tests, downloaded once, and a static busybox.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.executed import executed_shares
from benchmarks.profiled import LOOKED_AT_BY, busy, profiled
from benchmarks.shares import heading, row, shares_of
from benchmarks.ticks import compare_with_ticks
from tests.guests.debian_kernel import DebianKernel, KernelUnavailable, fetch_kernel
from tests.guests.linux import GuestFailed, LinuxGuest, find_busybox
from tests.guests.watched_demo import SHARES, WatchedDemo

RATES = (99.0, 499.0)
SECONDS, SHORT_SECONDS = 20.0, 3.0
TRUTHS = ("construction", "execution", "ticks")

NAMES: tuple[str, ...] = tuple(SHARES["work_percent"])
ROUND_NS = SHARES["round_ms"] * 1_000_000


def construction(seconds: float, rng: np.random.Generator) -> None:
    """Hold profiles of the bundled guest to the shares that it was built with."""
    truth = np.array([*SHARES["work_percent"].values(), 0], float)
    print("\n# construction\n" + heading(NAMES, truth))
    with WatchedDemo() as guest:
        for way in LOOKED_AT_BY:
            for hz in RATES:
                with profiled(guest, way, hz, guest.image) as profile:
                    time.sleep(seconds)
                shares = shares_of(profile.attached, busy(profile.taken), NAMES, ROUND_NS)
                facts = profile.facts
                print(
                    row(f"{way}, {hz:.0f} Hz", shares, truth, rng)
                    + f"   reached {facts.reached_hz:.0f} Hz, halted {facts.halted_percent:.2f} %",
                    flush=True,
                )


def execution(seconds: float, rng: np.random.Generator) -> None:
    """Hold profiles of the bundled guest to QEMU's own log of what it ran meanwhile."""
    print("\n# execution")
    with WatchedDemo() as guest:
        for way in LOOKED_AT_BY:
            with profiled(guest, way, RATES[-1], guest.image) as profile:
                counts = executed_shares(guest, profile.attached, NAMES, min(5.0, seconds / 2))
            begun, ended = counts.between
            chosen = busy(profile.taken)
            chosen = chosen.select((chosen.time >= begun) & (chosen.time <= ended))
            shares = shares_of(profile.attached, chosen, NAMES, ROUND_NS)
            print(heading(NAMES, counts.percent) + f"   {counts.lines} blocks")
            print(row(f"{way}, {RATES[-1]:.0f} Hz", shares, counts.percent, rng), flush=True)


def ticks(seconds: float, rng: np.random.Generator) -> None:
    """Hold profiles of a Linux guest to what its own kernel counted."""
    print("\n# ticks")
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = fetch_kernel()
    except KernelUnavailable as reason:
        raise SystemExit(str(reason)) from None
    guest = boot_alone(kernel, busybox)
    try:
        compare_with_ticks(guest, RATES[-1], 2 * seconds, rng)
    finally:
        guest.close()


def boot_alone(kernel: DebianKernel, busybox: Path) -> LinuxGuest:
    """A Linux guest of one vcpu.

    Of two, one would often be seen waiting for the other, which waits for the processor that the
    sampler has: on two processors that is what sampling does to them, and no tick sees it.
    """
    for attempt in range(3):
        try:
            return LinuxGuest(kernel, busybox, vcpus=1).__enter__()
        except GuestFailed:
            if attempt == 2:
                raise
    raise AssertionError


def main(arguments: Sequence[str]) -> None:
    chosen = [word for word in arguments if word != "--short"]
    if set(chosen) - set(TRUTHS):
        raise SystemExit(__doc__)
    seconds = SHORT_SECONDS if "--short" in arguments else SECONDS
    rng = np.random.default_rng(1)
    print(
        f"{platform.node()}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, "
        f"{time.strftime('%Y-%m-%d')}"
    )
    for name, compare in (
        ("construction", construction),
        ("execution", execution),
        ("ticks", ticks),
    ):
        if name in chosen or not chosen:
            compare(seconds, rng)


if __name__ == "__main__":
    main(sys.argv[1:])
