"""VM-exit statistics: how many, how long, by guest, vcpu, reason and the function that exits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # a table is also shown where nothing is measured, as by the screen
    from gprof.profile.exit_reasons import ExitReasons
    from gprof.profile.exits import Exits
    from symbols.space import AddressSpace


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


def exit_table(
    exits: Exits,
    reasons: ExitReasons,
    *,
    by: Sequence[ExitGroup] = (ExitGroup.REASON,),
    sort: ExitSort = ExitSort.TIME,
    spaces: Mapping[int, AddressSpace] | None = None,
    lost: int = 0,
    notes: Sequence[str] = (),
) -> ExitTable:
    """Count measured exits.

    Args:
        exits: what was measured.
        reasons: names what happened.
        by: what to keep apart.
        sort: the order of the rows.
        spaces: what addresses mean, by guest id; needed for `ExitGroup.SYMBOL`.
        lost: how many events the kernel dropped, handed through.
        notes: handed through.
    """
    total = int(exits.duration.sum())
    names, reason = _reason_names(exits, reasons)
    labels: dict[ExitGroup, NDArray[np.int64]] = {
        ExitGroup.VM: exits.guest.astype(np.int64),
        ExitGroup.VCPU: exits.vcpu.astype(np.int64),
        ExitGroup.REASON: reason,
    }
    symbols: list[str | None] = []
    if ExitGroup.SYMBOL in by:
        symbols, labels[ExitGroup.SYMBOL] = _symbol_names(exits, spaces or {})
    groups = [group for group in ExitGroup if group in by]
    if ExitGroup.VCPU in groups and ExitGroup.VM not in groups:
        groups.insert(0, ExitGroup.VM)  # a vcpu's index means something within its guest alone
    rows = []
    for label, members in _grouped([labels[group] for group in groups], len(exits)):
        told = dict(zip(groups, label, strict=True))
        vcpu = told.get(ExitGroup.VCPU, -1)
        rows.append(
            _row(
                exits.duration[members],
                len(exits),
                total,
                guest=told.get(ExitGroup.VM),
                vcpu=vcpu if vcpu >= 0 else None,
                reason=names[told[ExitGroup.REASON]] if ExitGroup.REASON in told else "",
                symbol=symbols[told[ExitGroup.SYMBOL]] if ExitGroup.SYMBOL in told else None,
            )
        )
    rows.sort(key=lambda row: (row.guest or 0, row.vcpu or 0, row.reason, row.symbol or ""))
    rows.sort(key=_SORT_KEYS[sort])
    return ExitTable(
        tuple(rows), len(exits), total, exits.unpaired, lost, reasons.measures, tuple(notes)
    )


_SORT_KEYS: dict[ExitSort, Callable[[ExitRow], float | str]] = {
    ExitSort.COUNT: lambda row: -row.count,
    ExitSort.TIME: lambda row: -row.total_ns,
    ExitSort.MAX: lambda row: -row.max_ns,
    ExitSort.MIN: lambda row: -row.min_ns,
    ExitSort.MEAN: lambda row: -row.mean_ns,
    ExitSort.P99: lambda row: -row.p99_ns,
    ExitSort.REASON: lambda row: row.reason,
}


def _row(
    duration: NDArray[np.int64],
    events: int,
    total: int,
    *,
    guest: int | None,
    vcpu: int | None,
    reason: str,
    symbol: str | None,
) -> ExitRow:
    count, time = len(duration), int(duration.sum())
    mean = time / count
    # Welford's M2 / (n - 1) is the sample's variance; divided by n, that of its mean
    # (stddev_stats in tools/perf/util/stat.c).
    deviation = float(np.std(duration, ddof=1)) / count**0.5 if count > 1 else 0.0
    p50, p99 = np.percentile(duration, [50, 99], method="inverted_cdf")
    return ExitRow(
        guest=guest,
        vcpu=vcpu,
        reason=reason,
        symbol=symbol,
        count=count,
        share_percent=100.0 * count / events,
        total_ns=time,
        time_percent=100.0 * time / total if total else 0.0,
        min_ns=int(duration.min()),
        max_ns=int(duration.max()),
        mean_ns=mean,
        deviation_percent=100.0 * deviation / mean if mean else 0.0,
        p50_ns=int(p50),
        p99_ns=int(p99),
    )


def _grouped(
    labels: Sequence[NDArray[np.int64]], count: int
) -> Iterator[tuple[tuple[int, ...], NDArray[np.int64]]]:
    """The distinct combinations of labels, and the members of each."""
    if not count:
        return
    if not labels:
        yield (), np.arange(count)
        return
    order = np.lexsort(tuple(reversed(labels)))
    differs = np.zeros(count - 1, np.bool_)
    for label in labels:
        differs |= label[order[1:]] != label[order[:-1]]
    for members in np.split(order, np.flatnonzero(differs) + 1):
        yield tuple(int(label[members[0]]) for label in labels), members


def _reason_names(exits: Exits, reasons: ExitReasons) -> tuple[list[str], NDArray[np.int64]]:
    """The names of what happened, and which of them each exit has; two keys may have one name."""
    index: dict[str, int] = {}
    which = np.empty(len(exits), np.int64)
    for (key, detail), members in _grouped(
        [exits.key.view(np.int64), exits.detail.view(np.int64)], len(exits)
    ):
        name = reasons.name(key % (1 << 64), detail % (1 << 64))
        which[members] = index.setdefault(name, len(index))
    return list(index), which


def _symbol_names(
    exits: Exits, spaces: Mapping[int, AddressSpace]
) -> tuple[list[str | None], NDArray[np.int64]]:
    """The functions that exits came from, and which of them each has; None where unknown."""
    index: dict[str | None, int] = {None: 0}
    which = np.zeros(len(exits), np.int64)
    for guest in np.unique(exits.guest):
        space = spaces.get(int(guest))
        if space is None:
            continue
        mine = np.flatnonzero(exits.guest == guest)
        pcs, place = np.unique(exits.pc[mine], return_inverse=True)
        resolved = space.resolve(pcs)
        numbers = np.zeros(len(pcs), np.int64)
        for i in np.flatnonzero(resolved.symbol >= 0):
            found = space.symbol(int(resolved.image[i]), int(resolved.symbol[i]))
            numbers[i] = index.setdefault(found.symbol.name, len(index))
        which[mine] = numbers[place]
    return list(index), which
