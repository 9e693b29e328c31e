"""VM-exit statistics: how many, how long, by guest, vcpu, reason and the function that exits.

A measurement is a begin and the end that directly follows it on the same thread of the host, as
`perf kvm stat` pairs them: a second begin starts anew, an end without a begin counts for nothing,
and neither does anything before the thread's first entry into a guest. Source: handle_kvm_event,
handle_begin_event and handle_end_event in tools/perf/builtin-kvm.c, Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata import Feature, PerfData, Samples
from gprof.profile.exit_reasons import ExitReasons
from gprof.profile.exit_summary import ExitGroup, ExitRow, ExitSort, ExitTable
from gprof.sampling import exit_events
from gprof.sampling.exit_events import ExitColumns, ExitEvent, Role
from gprof.sampling.perf_guests import PerfGuests
from symbols.space import AddressSpace


@dataclass(frozen=True, slots=True)
class Exits:
    """Measured exits as columns of equal length, by the time of their end.

    Attributes:
        time: of the end, nanoseconds.
        duration: nanoseconds.
        guest: number of the guest.
        vcpu: index of the vcpu; -1 where nothing told it.
        key: what happened, for `ExitReasons`.
        detail: what the key needs to be understood.
        pc: the guest's address at the exit; 0 where it is not told.
        unpaired: begins without their end, and ends without their begin.
    """

    time: NDArray[np.int64]
    duration: NDArray[np.int64]
    guest: NDArray[np.uint16]
    vcpu: NDArray[np.int32]
    key: NDArray[np.uint64]
    detail: NDArray[np.uint64]
    pc: NDArray[np.uint64]
    unpaired: int = 0

    def __len__(self) -> int:
        return len(self.duration)

    def since(self, time: int) -> Exits:
        """Those that ended at a time or later, such as in the last interval of a live table."""
        mask = self.time >= time
        columns = ("time", "duration", "guest", "vcpu", "key", "detail", "pc")
        return replace(self, **{name: getattr(self, name)[mask] for name in columns})


class ExitReader:
    """Collects the exits of one recording while it is read.

    Args:
        perf: the recording.
        event: what to measure.
        guests: numbers the guests; shared with a source of samples where both read.
    """

    def __init__(
        self, perf: PerfData, event: ExitEvent = ExitEvent.VMEXIT, guests: PerfGuests | None = None
    ) -> None:
        self.perf = perf
        self.event = event
        self.guests = guests or PerfGuests(perf)
        self._parts: list[ExitColumns] = []
        self._sampled = False

    def read(self) -> Iterator[int]:
        """Read the recording; after each block, how many events were collected so far.

        Raises:
            UsageError: the recording's architecture has no such event.
        """
        for chunk in self.perf.chunks():
            for samples in chunk:
                self.add(samples)
            yield sum(map(len, self._parts))

    def add(self, samples: Samples) -> None:
        """Collect what is of use among some samples."""
        steps = exit_events.plan(self.architecture, self.event)
        guest: NDArray[np.uint16] | None = None
        for step, tracepoint in exit_events.steps_of(self.perf, samples, steps):
            if guest is None:
                told = exit_events.vcpu_of(samples, tracepoint).astype(np.int64)
                guest, _ = self.guests.number(samples, told)
            self._sampled |= bool((samples.period > 1).any())
            self._parts.append(exit_events.columns_of(samples, step, tracepoint, guest))

    @property
    def architecture(self) -> str:
        """Of the recording, as `uname -m` names it; x86_64 where it does not tell."""
        return exit_events.known_architecture(self.perf.text(Feature.ARCH))

    def exits(self) -> Exits:
        """What was measured in all that was read so far."""
        return pair(tuple(self._parts))  # another thread may be adding to them

    def reasons(self) -> ExitReasons:
        """The names of what happened."""
        cpu = self.perf.text(Feature.CPUID)
        return ExitReasons(self.perf, self.event, self.architecture, cpu)

    def notes(self) -> tuple[str, ...]:
        """Sentences that a person must see."""
        found = list(self.perf.problems)
        if self._sampled:
            found.append(
                "not every event was recorded (the recording samples them by frequency): "
                "counts are too small and pairs may be wrong; record with `perf kvm stat record`"
            )
        if not self._parts:
            steps = exit_events.plan(self.architecture, self.event)
            wanted = {step.tracepoint for step in steps}
            if wanted <= {event.name.split(":u")[0] for event in self.perf.events}:
                found.append("no guest ran under KVM while this was recorded")
            else:
                names = " ".join(f"-e {name}" for name in sorted(wanted))
                found.append(
                    f"the recording has no events for {self.event.value}: record with "
                    f"`perf kvm stat record -a`, or `perf record -a -c 1 -R {names}`"
                )
        return tuple(found)


def pair(parts: Sequence[ExitColumns]) -> Exits:
    """Pair begins with their ends, and give each pair the key that fits best."""
    if not parts or not sum(map(len, parts)):
        none = np.empty(0, np.int64)
        words = none.astype(np.uint64)
        return Exits(none, none, none.astype(np.uint16), none.astype(np.int32), words, words, words)
    columns = ExitColumns.concatenate(parts)
    # lexsort is stable: of equal times the one that was written first comes first.
    columns = columns.take(np.lexsort((columns.time, columns.tid)))
    columns = columns.take(_after_first_entry(columns))
    refines = columns.role == Role.REFINE
    # For every row the latest refinement before it; it counts if it lies behind the begin.
    latest = np.maximum.accumulate(np.where(refines, np.arange(len(columns)), -1))
    plain = np.flatnonzero(~refines)
    begin, end = plain[:-1], plain[1:]
    is_begin, is_end = columns.role[begin] == Role.BEGIN, columns.role[end] == Role.END
    same = columns.tid[begin] == columns.tid[end]
    follows = is_begin & is_end & same
    # One that says nothing of what is measured may well stand alone, such as an entry.
    keyed = columns.keyed[plain]
    unpaired = int(keyed.sum() - (follows & keyed[:-1]).sum() - (follows & keyed[1:]).sum())
    begin, end = begin[follows], end[follows]
    key_at = np.where(columns.keyed[begin], begin, end)
    key_at = np.where(latest[end] > begin, latest[end], key_at)
    good = columns.keyed[key_at] & (columns.time[end] >= columns.time[begin])
    begin, end, key_at = begin[good], end[good], key_at[good]
    pc = np.where(columns.pc[begin] > 0, columns.pc[begin], columns.pc[end])
    vcpu = np.where(columns.vcpu[end] >= 0, columns.vcpu[end], columns.vcpu[begin])
    order = np.argsort(columns.time[end], kind="stable")
    return Exits(
        time=columns.time[end][order],
        duration=(columns.time[end] - columns.time[begin])[order],
        guest=columns.guest[begin][order],
        vcpu=vcpu[order],
        key=columns.key[key_at][order],
        detail=columns.detail[key_at][order],
        pc=pc[order],
        unpaired=unpaired,
    )


def _after_first_entry(columns: ExitColumns) -> NDArray[np.bool_]:
    """From each thread's first entry on; everything where a measurement knows no entries."""
    if not columns.entry.any():
        return np.ones(len(columns), np.bool_)
    starts = np.flatnonzero(np.r_[True, columns.tid[1:] != columns.tid[:-1]])
    seen = np.cumsum(columns.entry)
    before: NDArray[np.int64] = seen[starts] - columns.entry[starts]
    lengths = np.diff(np.r_[starts, len(columns)])
    return seen > np.repeat(before, lengths)


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
