"""What a profile looks like from one side: filtered, grouped, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.profile.alike import Alike
from gprof.profile.counting import MODES, SEVERAL, shared, totals, weigh
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.line_rows import Lines, LineSpots, NoLines
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.tasks import UNKNOWN_TASK, GuestTask, TaskTable
from gprof.sampling.numbering import distinct
from gprof.sampling.source import Mode
from symbols.names import printable
from symbols.source_frames import SourceFrame
from symbols.space import Reason

__all__ = ["Filter", "Group", "Row", "SortKey", "Table", "tabulate"]


class Group(StrEnum):
    """What one row stands for.

    Rows of symbols and modules are split by mode: a vcpu that idles in `default_idle` and one
    that handles an interrupt above it are two things.
    """

    SYMBOL = "symbol"
    MODULE = "module"
    MODE = "mode"
    VCPU = "vcpu"
    GUEST = "guest"
    TASK = "task"  # a thread of the guest
    PROCESS = "process"
    COMM = "comm"  # all tasks of one name
    LINE = "line"  # of source, in which the samples lie themselves


#: Groups of tasks: what a vcpu idles in is a row of its own, though a task does it.
TASK_GROUPS = frozenset({Group.TASK, Group.PROCESS, Group.COMM})


class SortKey(StrEnum):
    """What rows can be ordered by."""

    SELF = "self"
    TOTAL = "total"
    SYMBOL = "symbol"
    MODULE = "module"
    MODE = "mode"
    VCPU = "vcpu"
    GUEST = "guest"
    TASK = "task"
    PROCESS = "process"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        symbol: the function's name; None where the address has none, or the rows are no symbols.
        module: the image's name, `[kernel]` or a module's; or what stands for it, in brackets;
            empty where the row holds several.
        mode: what the vcpus were doing; UNKNOWN where the row holds several modes.
        reason: why there is no symbol; RESOLVED where the row holds several reasons.
        guest: id of the guest; -1 where the row holds several.
        vcpu: index of the vcpu; -1 where the row holds several.
        address: runtime start of the symbol, or the lowest address of the row; 0 where that
            says nothing (user space, modes, vcpus, guests).
        self_weight: weight of the samples whose pc lies here.
        total_weight: weight of the samples with this anywhere on their stack, once each.
        name: what is shown where there is no symbol; the address where this is empty too.
        era: see `Place.era`.
        task: what all of its samples ran; None where that is unknown, or the row holds several.
        frame: the line of source that the row stands for; its symbol is then the function, or one
            of those, whose code it is in.
    """

    symbol: str | None
    module: str
    mode: Mode
    reason: Reason
    guest: int
    vcpu: int
    address: int
    self_weight: int
    total_weight: int
    name: str = ""
    era: int = 0
    task: GuestTask | None = None
    frame: SourceFrame | None = None

    @property
    def label(self) -> str:
        """The line or the symbol, or what is shown in its place."""
        if self.frame is not None:
            return str(self.frame)
        return self.symbol if self.symbol is not None else self.name or f"{self.address:#x}"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by falling self weight, then total, then name.

    Attributes:
        rows: what is left after the filter.
        samples: how many samples they stand for.
        weight: the sum of those samples' weights; the base of every percentage.
        unresolved: samples without a symbol, by reason (user space is one of them).
        unresolved_of: the same by guest and reason.
        left_out: how many further rows there are; see `tabulate`.
    """

    rows: tuple[Row, ...]
    samples: int
    weight: int
    unresolved: dict[Reason, int]
    unresolved_of: dict[tuple[int, Reason], int] = field(default_factory=dict)
    left_out: int = 0

    def percent(self, weight: int) -> float:
        """A weight as share of what is shown."""
        return 100.0 * weight / self.weight if self.weight else 0.0

    def sorted(self, key: SortKey = SortKey.SELF, *, reverse: bool = False) -> Table:
        """The same rows in another order: weights fall, everything else rises.

        Args:
            key: what to order by; rows that are equal in it keep their order.
            reverse: turn the order round.
        """
        rows = sorted(self.rows, key=_ORDER[key], reverse=reverse)
        return replace(self, rows=tuple(rows))


_NO_LINES = NoLines()
_MODE = {mode.value: mode for mode in Mode}  # several times faster than Mode(number)

_ORDER: dict[SortKey, Callable[[Row], Any]] = {
    SortKey.SELF: lambda row: -row.self_weight,
    SortKey.TOTAL: lambda row: -row.total_weight,
    SortKey.SYMBOL: lambda row: row.label,
    SortKey.MODULE: lambda row: row.module,
    SortKey.MODE: lambda row: row.mode.label,
    SortKey.VCPU: lambda row: (row.guest, row.vcpu),
    SortKey.GUEST: lambda row: row.guest,
    SortKey.TASK: lambda row: (1, "", 0) if row.task is None else (0, row.task.name, row.task.pid),
    SortKey.PROCESS: lambda row: -1 if row.task is None else row.task.tgid,
    SortKey.ADDRESS: lambda row: row.address,
}


def tabulate(
    profile: Profile,
    chosen: Filter = EVERYTHING,
    group: Group = Group.SYMBOL,
    known: Resolution | None = None,
    *,
    most: int | None = None,
    by: SortKey = SortKey.SELF,
    lines: Lines | None = None,
) -> Table:
    """Filter, group and count the samples of a profile.

    The self weights of all rows add up to the table's weight, whatever the group. A row is there
    when its total is not 0, so callers that were never a leaf have rows too.

    Args:
        profile: what to count.
        chosen: which samples count.
        group: what a row stands for.
        known: keeps looked-up addresses between calls; see `Resolution`.
        most: of symbols and modules make only so many rows, the heaviest, and do not say which
            vcpu or task they belong to: fifty thousand rows take longer than all their samples.
        by: what the heaviest are chosen by, SELF or TOTAL.
        lines: tells the lines of source, by which rows may be grouped.
    """
    known = known or Resolution()
    alike = chosen.counted(profile, known)
    left_out = 0
    if group in {Group.SYMBOL, Group.MODULE}:
        rows, left_out = _rows_of_places(profile, alike, group, most, by)
    elif group is Group.LINE:
        rows = _rows_of_lines(profile, chosen, known, lines or _NO_LINES)
    else:
        rows = _rows_of_groups(profile, alike, group)
    rows.sort(key=_rank)
    unresolved_of = _unresolved(alike)
    unresolved: dict[Reason, int] = {}
    for (_, reason), count in unresolved_of.items():
        unresolved[reason] = unresolved.get(reason, 0) + count
    return Table(
        rows=tuple(rows),
        samples=int(alike.count.sum()),
        weight=int(alike.weight.sum()),
        unresolved=dict(sorted(unresolved.items())),
        unresolved_of=unresolved_of,
        left_out=left_out,
    )


def _rank(row: Row) -> tuple[Any, ...]:
    """The order of rows, to the last: it must not tell what was looked at before."""
    return (
        *(-row.self_weight, -row.total_weight, row.label, row.address),
        *(row.guest, row.vcpu, row.module, row.mode, row.reason, row.era, row.symbol or ""),
        (row.task.pid, row.task.name) if row.task is not None else (-1, ""),
    )


def _unresolved(alike: Alike) -> dict[tuple[int, Reason], int]:
    """Samples without a symbol, by guest and reason."""
    placement = alike.placement
    counts = weigh(placement.own, alike.count, len(placement.places))[placement.nameless]
    found: dict[tuple[int, Reason], int] = {}
    for number, count in zip(placement.nameless.tolist(), counts.tolist(), strict=True):
        if count:
            place = placement.places[number]
            key = (place.guest, place.reason)
            found[key] = found.get(key, 0) + count
    return dict(sorted(found.items()))


def _rows_of_places(
    profile: Profile, alike: Alike, group: Group, most: int | None, by: SortKey
) -> tuple[list[Row], int]:
    """A row for each symbol or module in each mode, and how many were left out."""
    placement = alike.placement
    entity_of, entity = None, placement.own.astype(np.int64)
    if group is Group.MODULE:
        # A module's entity is the lowest place in it, whichever was seen first.
        places = placement.places
        entity_of = np.arange(len(places))
        lowest: dict[tuple[int, str, Reason], int] = {}
        for number in sorted(range(len(places)), key=lambda n: places[n].image_start):
            entity_of[number] = lowest.setdefault(_module_key(places[number]), number)
        entity = entity_of[placement.own]
    keys = entity * MODES + placement.mode
    length = len(placement.places) * MODES
    own = weigh(keys, alike.weight, length)
    total, told = totals(
        placement,
        entity_of,
        keys,
        own=own,
        told=() if most is not None else (alike.vcpu, profile.tasks.known(alike.task)),
        weight=alike.weight,
        length=length,
    )
    vcpus, tasks = told or [np.full(length, SEVERAL)] * 2
    found = np.flatnonzero(total)
    left_out = 0
    if most is not None and len(found) > most:
        left_out = len(found) - most
        first, second = (total, own) if by is SortKey.TOTAL else (own, total)
        found = found[np.lexsort((-second[found], -first[found]))[:most]]
    rows = []
    for key, own_weight, total_weight, one_vcpu, one_task in zip(
        *(column[found].tolist() for column in (np.arange(length), own, total, vcpus, tasks)),
        strict=True,
    ):
        place = placement.places[key // MODES]
        whole = group is Group.MODULE
        rows.append(
            Row(
                symbol=None if whole else place.symbol,
                module=place.module,
                mode=_MODE[key % MODES],
                reason=_module_reason(place) if whole else place.reason,
                guest=place.guest,
                vcpu=one_vcpu,
                address=place.image_start if whole else place.address,
                self_weight=own_weight,
                total_weight=total_weight,
                name=place.module if whole else place.name,
                era=place.era,
                task=profile.tasks[one_task],
            )
        )
    return rows, left_out


def _rows_of_lines(profile: Profile, chosen: Filter, known: Resolution, lines: Lines) -> list[Row]:
    """A row for each line of source in each mode, and for what has none. Total is self."""
    placement, contexts = known.of(profile), known.contexts(profile)
    spots = known.kept(lines, lambda: LineSpots(lines))
    spots.follow(profile, contexts, placement)
    rows = []
    keep = chosen.mask(profile, known)
    for spot, mode, weight in spots.weights(keep, placement.mode, profile.samples.weight):
        guest, module, line = spots.spots[spot]
        place = placement.places[spots.places[spot]]
        found = isinstance(line, SourceFrame)
        rows.append(
            Row(
                symbol=place.symbol if found else None,
                module=module,
                mode=_MODE[mode],
                reason=Reason.RESOLVED,
                guest=guest,
                vcpu=SEVERAL,
                address=place.address if found else 0,
                self_weight=weight,
                total_weight=weight,
                name="" if found else str(line),
                era=place.era if found else 0,
                frame=line if isinstance(line, SourceFrame) else None,
            )
        )
    return rows


def _module_reason(place: Place) -> Reason:
    """Why nothing in a module has a symbol; RESOLVED where some of it may have."""
    return Reason.RESOLVED if place.reason is Reason.BETWEEN_SYMBOLS else place.reason


def _module_key(place: Place) -> tuple[int, str, Reason]:
    return place.guest, place.module, _module_reason(place)


def _rows_of_groups(profile: Profile, alike: Alike, group: Group) -> list[Row]:
    """A row for each mode, vcpu, guest or task. Their stacks add nothing: total is self."""
    guest = alike.guest.astype(np.int64)
    vcpu = guest << 16 | alike.vcpu
    mode = alike.placement.mode.astype(np.int64)
    task = profile.tasks.known(alike.task)
    groups: Sequence[GuestTask | None] = ()
    if group in TASK_GROUPS:
        groups, group_of = _grouped(profile.tasks, group)
        # A task that is unknown is so in each guest for itself.
        of_sample = (group_of[task] << 16 | guest) << 1 | (mode == Mode.IDLE)
    else:
        of_sample = {Group.MODE: mode, Group.VCPU: vcpu, Group.GUEST: guest}[group]
    of_group, keys = distinct(of_sample)
    length = len(of_group)
    columns = (
        weigh(keys, alike.weight, length),
        shared(keys, mode, length),
        shared(keys, guest, length),
        shared(keys, vcpu, length),
        shared(keys, task, length),
        of_group,
    )
    rows = []
    for weight, one_mode, one_guest, one_vcpu, one_task, key in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        if not weight:
            continue
        row = Row(
            symbol=None,
            module="",
            mode=Mode.UNKNOWN if one_mode == SEVERAL else Mode(one_mode),
            reason=Reason.RESOLVED,
            guest=one_guest,
            vcpu=SEVERAL if one_vcpu == SEVERAL else one_vcpu & 0xFFFF,
            address=0,
            self_weight=weight,
            total_weight=weight,
            task=profile.tasks[one_task],
        )
        if group in TASK_GROUPS:
            alone = row.task if group is Group.COMM else None
            row = replace(row, task=alone or groups[key >> 17])
        rows.append(replace(row, name=_name_of(profile, group, row)))
    return rows


def _grouped(
    tasks: TaskTable, group: Group
) -> tuple[Sequence[GuestTask | None], NDArray[np.int64]]:
    if group is Group.TASK:
        return tasks.alone()
    return tasks.by_process() if group is Group.PROCESS else tasks.by_name()


def _name_of(profile: Profile, group: Group, row: Row) -> str:
    if group is Group.MODE:
        return row.mode.label
    if group in TASK_GROUPS:
        if row.task is None:
            return UNKNOWN_TASK
        return row.task.name if group is Group.COMM else row.task.label
    known = profile.guests.get(row.guest)
    name = printable(known.name) if known else f"guest {row.guest}"
    if group is Group.GUEST:
        return name
    return f"vcpu {row.vcpu}" if len(profile.guests) < 2 else f"{name} vcpu {row.vcpu}"
