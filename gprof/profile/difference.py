"""Two profiles side by side: whose share changed, and whose only seems to have changed.

Profiles are compared by shares, since they differ in length and rate. A share that was sampled is
uncertain, so every change comes with an interval that holds the true one with a known confidence.
The interval is Newcombe's for the difference of two independent proportions, made of two Wilson
score intervals (R. G. Newcombe, Statistics in Medicine 17, 1998, 873-890, method 10): unlike the
textbook's normal approximation it holds for the few samples that most functions have, and for
none at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import sqrt
from statistics import NormalDist

import numpy as np

from gprof.errors import UsageError
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.tree import Node, NodeKind, call_tree
from gprof.profile.view import Row, Table, tabulate
from gprof.sampling.source import UInt32s

#: Of a hundred functions that did not change, one seems to.
CONFIDENCE = 0.99


class Verdict(StrEnum):
    """What became of a share."""

    NEW = "new"
    VANISHED = "vanished"
    MORE = "more"
    LESS = "less"
    NOISE = "noise"  # the interval of its change holds zero


@dataclass(frozen=True, slots=True)
class Change:
    """One share before and after.

    Attributes:
        before: weight of its samples in the first profile.
        after: in the second.
        share_before: of everything in the first profile, 0 to 1.
        share_after: of everything in the second.
        low: the least that the true change may be, at the chosen confidence.
        high: the most.
    """

    before: int
    after: int
    share_before: float
    share_after: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """How much greater the share became, -1 to 1."""
        return self.share_after - self.share_before

    @property
    def rank(self) -> float:
        """Sorts great changes first; what differs by rounding alone is equal."""
        return -round(abs(self.change), 12)

    @property
    def verdict(self) -> Verdict:
        """What can be said of it."""
        if self.low <= 0 <= self.high:
            return Verdict.NOISE
        if not self.before:
            return Verdict.NEW
        if not self.after:
            return Verdict.VANISHED
        return Verdict.MORE if self.change > 0 else Verdict.LESS


@dataclass(frozen=True, slots=True)
class Scale:
    """What weights of two profiles are shares of, and how sure shares can be.

    Attributes:
        before: weight of the whole first profile.
        after: of the second.
        samples_before: how many samples of equal weight would be as sure.
        samples_after: the same of the second.
        confidence: of the intervals, above 0 and below 1.
    """

    before: int
    after: int
    samples_before: float
    samples_after: float
    confidence: float = CONFIDENCE

    def change(self, before: int, after: int) -> Change:
        """Compare two weights."""
        first = before / self.before if self.before else 0.0
        second = after / self.after if self.after else 0.0
        z = NormalDist().inv_cdf(0.5 + self.confidence / 2)
        low_1, high_1 = wilson(first, self.samples_before, z)
        low_2, high_2 = wilson(second, self.samples_after, z)
        change = second - first
        return Change(
            before,
            after,
            first,
            second,
            change - sqrt((second - low_2) ** 2 + (high_1 - first) ** 2),
            change + sqrt((high_2 - second) ** 2 + (first - low_1) ** 2),
        )


def wilson(share: float, samples: float, z: float) -> tuple[float, float]:
    """The score interval of a proportion (E. B. Wilson, JASA 22, 1927, 209-212).

    Args:
        share: that was observed.
        samples: among how many; with none, nothing is known.
        z: half the interval's width, in standard deviations.
    """
    if not samples:
        return 0.0, 1.0
    share = min(max(share, 0.0), 1.0)  # sums of weights may leave it just outside
    middle = (share + z * z / (2 * samples)) / (1 + z * z / samples)
    spread = share * (1 - share) / samples + z * z / (4 * samples * samples)
    half = z * sqrt(spread) / (1 + z * z / samples)
    # Rounding may leave the observed share just outside.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """A function in two profiles.

    Attributes:
        name: the symbol, or what is shown in its place.
        module: where it is.
        own: of samples in it.
        total: of samples with it anywhere on the stack.
    """

    name: str
    module: str
    own: Change
    total: Change


@dataclass(frozen=True, slots=True)
class Difference:
    """Two profiles compared function by function, the greatest change of self first.

    Attributes:
        rows: every function that has samples in either.
        scale: what the shares are of.
    """

    rows: tuple[DifferenceRow, ...]
    scale: Scale


def difference(
    before: Profile,
    after: Profile,
    chosen: Filter = EVERYTHING,
    confidence: float = CONFIDENCE,
) -> Difference:
    """Compare two profiles function by function.

    Functions are the same when name and module are: addresses change from boot to boot.

    Args:
        before: the first.
        after: the second.
        chosen: which samples of both count.
        confidence: of the intervals.
    """
    scale = _scale(before, after, chosen, confidence)
    first, second = (_weights(tabulate(profile, chosen)) for profile in (before, after))
    none = (0, 0)
    rows = []
    for name, module in first.keys() | second.keys():
        own_1, total_1 = first.get((name, module), none)
        own_2, total_2 = second.get((name, module), none)
        rows.append(
            DifferenceRow(name, module, scale.change(own_1, own_2), scale.change(total_1, total_2))
        )
    rows.sort(key=lambda row: (row.own.rank, row.total.rank, row.name, row.module))
    return Difference(tuple(rows), scale)


def _weights(table: Table) -> dict[tuple[str, str], tuple[int, int]]:
    weights: dict[tuple[str, str], tuple[int, int]] = {}
    for row in table.rows:
        key = (_name(row), row.module)
        own, total = weights.get(key, (0, 0))
        weights[key] = (own + row.self_weight, total + row.total_weight)
    return weights


def _name(row: Row) -> str:
    """The name that the same code has in another boot."""
    # A page without an image is called by its address, which means nothing there.
    return "[unknown]" if row.module == "[unknown]" else row.label


def _scale(before: Profile, after: Profile, chosen: Filter, confidence: float) -> Scale:
    def weights(profile: Profile) -> UInt32s:
        kept: UInt32s = profile.samples.weight[chosen.mask(profile, Resolution())]
        return kept

    first, second = weights(before), weights(after)
    return Scale(
        int(first.sum(dtype=np.uint64)),
        int(second.sum(dtype=np.uint64)),
        _equal_samples(first),
        _equal_samples(second),
        confidence,
    )


def _equal_samples(weight: UInt32s) -> float:
    """How many samples of equal weight say as much (L. Kish, Survey Sampling, 1965, 11.7)."""
    weights = weight.astype(np.float64)
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


class DifferenceNode:
    """A function along one path of calls, in two profiles.

    Its width is the mean of both shares, so that what is new and what has vanished both have
    one; children never exceed their parent.

    Args:
        before: the node of the first tree; None where it has none.
        after: of the second.
        scale: what the totals are shares of.
    """

    #: Widths are whole numbers; a script computes with them exactly.
    WHOLE = 1 << 48

    def __init__(self, before: Node | None, after: Node | None, scale: Scale) -> None:
        either = before or after
        assert either is not None
        self.name = either.name
        self.module = either.module
        self.kind: NodeKind = either.kind
        self.before = before
        self.after = after
        self.scale = scale

    @cached_property
    def total(self) -> int:
        """The mean of both shares as a part of `WHOLE`, rounded down."""
        first = self.before.total if self.before else 0
        second = self.after.total if self.after else 0
        # Of an empty profile nothing is a share, and the other one's are halved all the same.
        base_1, base_2 = max(self.scale.before, 1), max(self.scale.after, 1)
        return (first * base_2 + second * base_1) * self.WHOLE // (2 * base_1 * base_2)

    @cached_property
    def change(self) -> Change:
        """Of the samples that pass or end here."""
        return self.scale.change(
            self.before.total if self.before else 0, self.after.total if self.after else 0
        )

    def children(self) -> Sequence[DifferenceNode]:
        """By falling width, then name."""
        first, second = (
            {(n.name, n.module, n.kind): n for n in node.children()} if node else {}
            for node in (self.before, self.after)
        )
        found = [
            DifferenceNode(first.get(key), second.get(key), self.scale)
            for key in first.keys() | second.keys()
        ]
        return sorted(found, key=lambda n: (-n.total, n.name, n.module, n.kind))

    def walk(self) -> Iterator[DifferenceNode]:
        """Every node, outer before inner."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting += reversed(node.children())


def difference_tree(
    before: Profile,
    after: Profile,
    chosen: Filter = EVERYTHING,
    confidence: float = CONFIDENCE,
) -> DifferenceNode:
    """Compare two profiles call by call; arguments as of `difference`.

    Raises:
        UsageError: only one of them has stacks: their trees have nothing in common.
    """
    stacked = [bool((profile.samples.stack > 0).any()) for profile in (before, after)]
    if stacked[0] != stacked[1] and len(before.samples) and len(after.samples):
        raise UsageError(
            f"only the {'first' if stacked[0] else 'second'} recording has call stacks",
            "Compare them as a table, without -o, or record both in the same way.",
        )
    scale = _scale(before, after, chosen, confidence)
    return DifferenceNode(call_tree(before, chosen), call_tree(after, chosen), scale)
