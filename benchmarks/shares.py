"""Shares of functions, how far two pictures of them agree, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.attach import Attached
from gprof.sampling.source import SampleBatch

RESAMPLED = 1000
OTHER = "(everything else)"


@dataclass(frozen=True, slots=True)
class Shares:
    """Samples by function, in blocks of time.

    Attributes:
        names: of the functions; the last stands for all others.
        blocks: samples by block and function. Neighbouring samples are not independent, blocks
            that hold whole rounds of the guest's work nearly are.
    """

    names: tuple[str, ...]
    blocks: NDArray[np.int64]

    @property
    def total(self) -> int:
        return int(self.blocks.sum())

    def percent(self) -> NDArray[np.float64]:
        return percent(self.blocks.sum(axis=0))

    def half_intervals(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Half of the 95 % confidence interval of each share, in points, by a bootstrap."""
        low, high = np.percentile(self._resampled(rng), [2.5, 97.5], axis=0)
        half: NDArray[np.float64] = (high - low) / 2
        return half

    def overlap(
        self, truth: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[float, float, float]:
        """The sum of the smaller shares, in percent, and its 95 % confidence interval."""
        # A draw of draws lies lower than the samples themselves: it has their noise twice.
        here = float(np.minimum(self.percent(), truth).sum())
        drawn = np.minimum(self._resampled(rng), truth).sum(axis=1)
        half = float(np.diff(np.percentile(drawn, [2.5, 97.5]))[0]) / 2
        return here, max(0.0, here - half), min(100.0, here + half)

    def _resampled(self, rng: np.random.Generator) -> NDArray[np.float64]:
        count = len(self.blocks)
        drawn = rng.integers(0, count, (RESAMPLED, count))
        return np.array([percent(self.blocks[rows].sum(axis=0)) for rows in drawn])


def percent(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts as shares of their sum; zeros where there is nothing."""
    return counts.astype(np.float64) * (100 / max(1, int(counts.sum())))


def shares_of(
    attached: Attached, taken: SampleBatch, names: Sequence[str], block_ns: int
) -> Shares:
    """Samples by function and block of time."""
    numbers = name_numbers(attached, taken.pc, names)
    block = (taken.time - taken.time.min()) // block_ns if len(taken) else taken.time
    blocks = np.zeros((int(block.max(initial=0)) + 1, len(names) + 1), np.int64)
    np.add.at(blocks, (block, numbers), 1)
    return Shares((*names, OTHER), blocks)


def name_numbers(
    attached: Attached, pcs: NDArray[np.uint64], names: Sequence[str]
) -> NDArray[np.int64]:
    """For each address the number of its function's name; one after the last for any other."""
    resolved = attached.space.resolve(pcs)
    number = {name: i for i, name in enumerate(names)}
    pairs, inverse = np.unique(
        np.stack([resolved.image, resolved.symbol]), axis=1, return_inverse=True
    )
    of_pair = [
        number.get(attached.space.symbol(image, symbol).symbol.name, len(names))
        if symbol >= 0
        else len(names)
        for image, symbol in pairs.T.tolist()
    ]
    return np.array(of_pair, np.int64)[np.ravel(inverse)]


def summary(way: str, shares: Shares, truth: NDArray[np.float64], rng: np.random.Generator) -> str:
    """How one profile compares: samples, overlap with its interval, largest difference."""
    here, low, high = shares.overlap(truth, rng)
    worst = float(np.abs(shares.percent() - truth).max(initial=0))
    return f"{way:<22}{shares.total:>8}{here:>8.1f} ({low:5.1f} to {high:5.1f}){worst:>7.2f}"


def row(way: str, shares: Shares, truth: NDArray[np.float64], rng: np.random.Generator) -> str:
    """The same, and each function's share with its interval."""
    pairs = zip(shares.percent(), shares.half_intervals(rng), strict=True)
    cells = "".join(f"{share:>10.2f} ±{half:5.2f}" for share, half in pairs)
    return summary(way, shares, truth, rng) + cells


def heading(names: Sequence[str], truth: NDArray[np.float64]) -> str:
    """Two lines above such rows: what is in the columns, and the truth."""
    first = f"{'way':<22}{'samples':>8}{'overlap %':>24}{'worst':>7}"
    first += "".join(f"{name[:16]:>17}" for name in names)
    return first + f"\n{'truth':<61}" + "".join(f"{share:>17.2f}" for share in truth)
