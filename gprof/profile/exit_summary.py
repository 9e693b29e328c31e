"""What a table of VM exits says, whoever counted them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExitGroup(StrEnum):
    """What rows are kept apart by."""

    VM = "vm"
    VCPU = "vcpu"
    REASON = "reason"
    SYMBOL = "symbol"


class ExitSort(StrEnum):
    """What rows are ordered by, the largest first; names ascending."""

    COUNT = "count"
    TIME = "time"
    MAX = "max"
    MIN = "min"
    MEAN = "mean"
    P99 = "p99"
    REASON = "reason"


@dataclass(frozen=True, slots=True)
class ExitRow:
    """One line of the table.

    Attributes:
        guest: id of the guest; None where the row holds several.
        vcpu: index of the vcpu; None where the row holds several.
        reason: what happened; empty where the row holds several reasons.
        symbol: the guest's function at the exit; None where unknown, or the row holds several.
        count: how many were measured.
        share_percent: of all that were.
        total_ns: their time.
        time_percent: of all time measured.
        min_ns: the shortest.
        max_ns: the longest.
        mean_ns: the average.
        deviation_percent: standard deviation of the mean, relative to it, as perf prints it.
        p50_ns: half were not longer.
        p99_ns: 99 of 100 were not longer.
    """

    guest: int | None
    vcpu: int | None
    reason: str
    symbol: str | None
    count: int
    share_percent: float
    total_ns: int
    time_percent: float
    min_ns: int
    max_ns: int
    mean_ns: float
    deviation_percent: float
    p50_ns: int
    p99_ns: int


@dataclass(frozen=True, slots=True)
class ExitTable:
    """The rows, and what they stand for.

    Attributes:
        rows: in the order that was asked for.
        events: how many were measured.
        total_ns: their time.
        unpaired: begins without their end, and ends without their begin.
        lost: how many events the kernel says that it dropped.
        measures: what the time is: `host` handling an exit, or time in the `guest` up to it.
        notes: sentences that a person must see.
    """

    rows: tuple[ExitRow, ...]
    events: int
    total_ns: int
    unpaired: int
    lost: int
    measures: str
    notes: tuple[str, ...] = ()
