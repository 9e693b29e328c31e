"""How much longer a guest needs for its work while it is sampled.

    python -m benchmarks.slowdown [--short]

A Linux guest with two vcpus under TCG and a disk does three kinds of work in one process: sums
(the processor alone), reading and writing a byte at a time (system calls), and writes to the disk
that wait for it. Its own clock cannot time them: it stands while the guest is stopped. So the host
times a fixed amount of work, unsampled and sampled by each way at each rate in turn, round after
round. The work keeps to one vcpu: the guest's scheduler would choose differently each time.

`slowdown` is how much longer it took than the mean of the unsampled runs before and after it in
the same round: the median over the rounds, and a 95 % confidence interval of that by a bootstrap.
A target is met or missed where the whole interval says so. `halted` is what gprof says itself. No
budget holds a way back; with the one that gprof keeps to by default (1 %) the rate would be lowered
where `halted` is more.

Takes some six minutes; with `--short` one round of less work. Needs the Debian kernel of
the tests, downloaded once, and a static busybox.
"""

from __future__ import annotations

import base64
import gzip
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.profiled import LOOKED_AT_BY, profiled
from tests.guests.debian_kernel import KernelUnavailable, fetch_kernel
from tests.guests.initramfs import read_module
from tests.guests.linux import GuestFailed, LinuxGuest, find_busybox

RATES = (99.0, 499.0)
ROUNDS, SHORT_ROUNDS = 12, 1
SECONDS, SHORT_SECONDS = 0.8, 0.5
RESAMPLED = 2000
#: By way at 99 Hz, percent.
TARGETS = {"stub": 2.0, "monitor": 1.0}
_DISK_MB = 64


@dataclass(frozen=True, slots=True)
class Work:
    """Something to do.

    Attributes:
        name: of its kind.
        command: for the guest's shell; `{}` stands for the amount.
        amount: to begin the calibration with.
    """

    name: str
    command: str
    amount: int


WORKS = (
    Work("processor", "i=0; while [ $i -lt {} ]; do sha256sum /tmp/text; i=$((i+1)); done", 2),
    Work("system calls", "dd if=/dev/zero of=/dev/null bs=1 count={}", 20_000),
    Work("disk writes", "dd if=/dev/zero of=/dev/vda bs=4k count={} oflag=direct", 200),
)


class WorkingGuest(LinuxGuest):
    """A Linux guest with a disk that does nothing by itself."""

    def extra_arguments(self) -> Sequence[str]:
        disk = self.directory / "disk"
        with disk.open("wb") as file:
            file.truncate(_DISK_MB << 20)
        return (
            *super().extra_arguments(),
            *("-drive", f"file={disk},format=raw,if=virtio,cache=writeback"),
        )

    def prepare(self) -> None:
        """End what it was started to do, and give it its disk."""
        self.run(
            "for p in $(pgrep -P 1); do [ $p = $$ ] || kill -9 $p; done; killall -9 dd find cp"
        )
        (module,) = list(self.kernel.modules.rglob("virtio_blk.ko*"))[:1]
        text = base64.b64encode(gzip.compress(read_module(module))).decode()
        for i in range(0, len(text), 4000):
            self.run(f"echo {text[i : i + 4000]} >>/tmp/module")
        said = self.run(
            "base64 -d /tmp/module | gunzip >/tmp/blk.ko; insmod /tmp/blk.ko; ls /dev/vda"
        )
        if b"/dev/vda\n" not in said:
            raise GuestFailed(f"no disk: {said!r}")

    def seconds_for(self, work: Work, amount: int) -> float:
        """How long some work takes on one vcpu, by the host's clock.

        Raises:
            GuestFailed: the guest cannot do it.
        """
        command = f"taskset 1 sh -c '{work.command.format(amount)}' >/dev/null 2>&1; echo $?"
        begun = time.monotonic()
        ended = self.run(command, patience=300)
        took = time.monotonic() - begun
        if ended.strip() != b"0":
            raise GuestFailed(f"{work.name}: {command} ended with {ended!r}")
        return took


def calibrated(guest: WorkingGuest, work: Work, seconds: float) -> int:
    """The amount that takes about so long."""
    amount = work.amount
    while (took := guest.seconds_for(work, amount)) < seconds / 4:
        amount *= 4
    return max(1, round(amount * seconds / took))


def median_interval(
    values: Sequence[float], rng: np.random.Generator
) -> tuple[float, float, float]:
    """A median, and its 95 % confidence interval."""
    found: NDArray[np.float64] = np.array(values)
    drawn = np.median(rng.choice(found, (RESAMPLED, len(found))), axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(np.median(found)), float(low), float(high)


def measure(guest: WorkingGuest, rounds: int, seconds: float) -> None:
    rng = np.random.default_rng(1)
    print(f"{'work':<14}{'way':<9}{'Hz':>5}{'reached':>9}{'halted %':>10}{'slowdown %':>12}")
    for work in WORKS:
        amount = calibrated(guest, work, seconds)
        ways = [(way, hz) for hz in RATES for way in LOOKED_AT_BY]
        slower: dict[tuple[str, float], list[float]] = {one: [] for one in ways}
        facts = {}
        for _ in range(rounds):
            before = guest.seconds_for(work, amount)
            for way, hz in ways:
                with profiled(guest, way, hz, guest.vmlinux, guest.kallsyms) as profile:
                    took = guest.seconds_for(work, amount)
                after = guest.seconds_for(work, amount)
                slower[way, hz].append(100 * (took / ((before + after) / 2) - 1))
                facts[way, hz] = profile.facts
                before = after
        for way, hz in ways:
            middle, low, high = median_interval(slower[way, hz], rng)
            verdict = ""
            if hz == RATES[0]:
                target = TARGETS[way]
                sure = "met" if high <= target else "missed" if low > target else "not settled"
                verdict = f"   target {target:g}: {sure}"
            told = facts[way, hz]
            print(
                f"{work.name:<14}{way:<9}{hz:>5.0f}{told.reached_hz:>9.0f}"
                f"{told.halted_percent:>10.2f}{middle:>12.1f} ({low:.1f} to {high:.1f}){verdict}",
                flush=True,
            )


def main(arguments: Sequence[str]) -> None:
    if set(arguments) - {"--short"}:
        raise SystemExit(__doc__)
    busybox = find_busybox()
    if busybox is None:
        raise SystemExit("no static busybox is installed (apt-get install busybox-static)")
    try:
        kernel = fetch_kernel()
    except KernelUnavailable as reason:
        raise SystemExit(str(reason)) from None
    print(
        f"{platform.node()}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}, "
        f"{time.strftime('%Y-%m-%d')}; two vcpus under TCG"
    )
    for attempt in range(3):
        guest = WorkingGuest(kernel, busybox)
        try:
            guest.__enter__()
            break
        except GuestFailed:  # multi-threaded TCG trips over a kernel that patches itself
            if attempt == 2:
                raise
    try:
        guest.prepare()
        short = bool(arguments)
        measure(guest, SHORT_ROUNDS if short else ROUNDS, SHORT_SECONDS if short else SECONDS)
    finally:
        guest.close()


if __name__ == "__main__":
    main(sys.argv[1:])
