"""How near profiles come to the truth: the demo guest's shares, known by construction.

    python -m benchmarks.accuracy [SECONDS]

Samples the bundled guest for so many seconds (20 unless given) by each way at two rates, one after
the other in one run. A row is one profile: the share of each function among busy samples, and
under it half of its 95 % confidence interval. That comes from a bootstrap over whole rounds of the
guest's work (240 ms), since neighbouring samples are not independent. `overlap` is the sum over
all functions of the smaller of measured and true share; `worst` the largest difference, in points.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.attach import Sources, attach, source_of
from gprof.guest.address import Address
from gprof.guest.demo import DemoGuest, demo_file
from gprof.guest.mode import Mode
from gprof.sampling.source import SampleBatch, SourceFacts

RATES = (99.0, 499.0)
RESAMPLED = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One profile of the demo guest.

    Attributes:
        facts: how it was taken.
        rounds: busy samples by round of the guest's work and function; the last column is of
            everything else.
    """

    facts: SourceFacts
    rounds: NDArray[np.int64]

    def shares(self) -> NDArray[np.float64]:
        """Percent of busy samples by function."""
        return percent(self.rounds.sum(axis=0))

    def half_intervals(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Half of the 95 % confidence interval of each share, in points."""
        count = len(self.rounds)
        drawn = rng.integers(0, count, (RESAMPLED, count))
        shares = np.array([percent(self.rounds[rows].sum(axis=0)) for rows in drawn])
        low, high = np.percentile(shares, [2.5, 97.5], axis=0)
        half: NDArray[np.float64] = (high - low) / 2
        return half


def percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts.astype(np.float64) * np.float64(100 / max(1, int(counts.sum())))


def measure(
    guest: DemoGuest, way: str, hz: float, *, seconds: float, names: list[str], round_ms: int
) -> Measured:
    """Sample the guest by one way."""
    by_stub = "gdb" in way
    attached = attach(
        Address.parse(guest.gdb_address) if by_stub else None,
        Sources.open(guest.image, None, None),
        monitor=Address.parse(guest.qmp_address) if "qmp" in way else None,
    )
    image = attached.sources.image
    assert image is not None
    source = source_of(attached, hz=hz, max_halted=1.0)
    batches = []
    end = time.monotonic() + seconds
    for batch in source.batches():
        batches.append(batch)
        if time.monotonic() >= end:
            source.close()
    taken = SampleBatch.concatenate(batches)
    busy = taken.select(taken.mode != Mode.IDLE)
    symbols = attached.space.resolve(busy.pc).symbol
    numbers = {image.table.names[i]: i for i in range(len(image.table))}
    column = np.full(len(busy), len(names))
    for i, name in enumerate(names):
        column[symbols == numbers[name]] = i
    number = (busy.time - busy.time.min()) // (round_ms * 1_000_000)
    rounds = np.zeros((int(number.max()) + 1, len(names) + 1), np.int64)
    np.add.at(rounds, (number, column), 1)
    return Measured(source.facts(), rounds)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    truth = json.loads(demo_file("shares.json").read_text())
    names = list(truth["work_percent"])
    wanted = np.array([*truth["work_percent"].values(), 0], float)
    rng = np.random.default_rng(1)
    print(
        f"{platform.node()}, {os.cpu_count()} cpus, load {os.getloadavg()[0]:.1f}; "
        f"{seconds:g} s each, {time.strftime('%Y-%m-%d')}"
    )
    print(f"{'way':<10}{'asked':>6}{'Hz':>6}{'busy':>8}{'halted':>9}"
          + "".join(f"{name:>18}" for name in names) + f"{'overlap':>9}{'worst':>7}")  # fmt: skip
    print(f"{'truth':<39}" + "".join(f"{share:>18.1f}" for share in wanted[:-1]))
    with DemoGuest() as guest:
        for way in ("gdb+qmp", "qmp"):
            for hz in RATES:
                found = measure(
                    guest, way, hz, seconds=seconds, names=names, round_ms=truth["round_ms"]
                )
                shares, halves = found.shares(), found.half_intervals(rng)
                facts = found.facts
                cells = "".join(
                    f"{share:>11.1f} ±{half:>4.1f} "
                    for share, half in zip(shares[:-1], halves[:-1], strict=True)
                )
                print(
                    f"{way:<10}{hz:>6.0f}{facts.reached_hz:>6.0f}{found.rounds.sum():>8}"
                    f"{facts.halted_percent:>7.2f} %{cells}"
                    f"{np.minimum(shares, wanted).sum():>9.1f}"
                    f"{np.abs(shares - wanted).max():>7.1f}"
                )


if __name__ == "__main__":
    main()
