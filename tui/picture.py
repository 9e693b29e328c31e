"""One frozen look at a session: the view and the header's figures, computed off the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.alike import Alike
from gprof.profile.filter import Filter
from gprof.profile.line_rows import Lines
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.tree import Direction, Node, call_tree
from gprof.profile.view import TASK_GROUPS, Group, SortKey, Table, tabulate
from gprof.sampling.source import Int64s, Mode, SampleBatch, SourceFacts, UInt8s, UInt16s
from tui.choice import Choice, Order
from tui.columns import columns_for, key_of
from tui.exit_rows import GROUPS, ExitLook, ExitSource, exit_columns, exit_rows
from tui.image_rows import as_rows, image_columns, image_rows
from tui.timeline import Busy, Timeline
from tui.view import View
from tui.widgets.column import Column, Rows

T = TypeVar("T")

#: Rows of Top. Who is not among the first two thousand is looked for by a filter.
MOST_ROWS = 2000


class State(StrEnum):
    """What the session is doing, as one word."""

    LIVE = "LIVE"
    PAUSED = "PAUSED"
    HELD = "HELD"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class VcpuModes:
    """How often one vcpu was seen in each mode.

    Attributes:
        guest: id of its guest.
        vcpu: its index there.
        weights: by mode, summed over the samples.
        steal: share of the time in which it waited for a processor of the host; None where that
            is not known.
    """

    guest: int
    vcpu: int
    weights: Mapping[Mode, int]
    steal: float | None = None


@dataclass(frozen=True, slots=True)
class Sheet(Generic[T]):
    """What a view of rows shows.

    Attributes:
        columns: in their order.
        rows: in the chosen order.
        sort: key of the column they are sorted by, and whether the largest comes first.
    """

    columns: tuple[Column[T], ...]
    rows: Rows[T]
    sort: tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Picture:
    """What the screen shows until the next picture.

    Attributes:
        state: what the session is doing.
        failure: why it ended, where it did not end as asked.
        live: the profile when the picture was taken; the header's figures are of this.
        shown: the profile that the view is of: `live`, or an earlier one while paused. Under
            decay its samples weigh less the older they are.
        choice: what the view was made for.
        filter: the samples of `shown` that count.
        table: the counted rows of Top; in other views by mode, which has the same sums.
        scale: what a sample of weight one counts in the view.
        vcpus: modes of every vcpu in `live`, unfiltered.
        modes: weights by mode in `shown`, of the vcpu that was chosen; as the table has them,
            where kernel code in an idle function is idle.
        timeline: of `live`, unfiltered.
        places: every function that was seen, and what stands for addresses without one.
        sheet: the rows of Top, Exits or Symbols.
        tree: of calls, for Tree and Flame.
        exits: what Exits shows.
        complaint: why the view shows nothing.
    """

    state: State
    failure: GprofError | None
    live: Profile
    shown: Profile
    choice: Choice
    filter: Filter
    table: Table
    scale: int
    vcpus: tuple[VcpuModes, ...]
    modes: Mapping[Mode, int]
    timeline: Timeline
    places: tuple[Place, ...] = ()
    sheet: Sheet[Any] | None = None
    tree: Node | None = None
    exits: ExitLook | None = None
    complaint: GprofError | None = None

    def share(self, mode: Mode) -> float:
        """Percent of the samples that were in a mode, those left out included."""
        total = sum(self.modes.values())
        return 100.0 * self.modes.get(mode, 0) / total if total else 0.0

    @property
    def stacked(self) -> bool:
        """Call stacks were taken."""
        return len(self.shown.stacks) > 1


@dataclass(frozen=True, slots=True)
class Pause:
    """Where the view stays while sampling goes on.

    Attributes:
        profile: what it stays at.
        known: the addresses that were looked up for it; the live profile needs its own.
    """

    profile: Profile
    known: Resolution


def take_picture(
    session: Session,
    choice: Choice,
    known: Resolution,
    *,
    pause: Pause | None = None,
    before: SourceFacts | None = None,
    cells: int = 100,
    exits: ExitSource | None = None,
    lines: Lines | None = None,
) -> Picture:
    """Look at a session; meant for a worker thread.

    Costs by what is new since the last look, and by how many samples differ from each other; by
    all samples of a period or a window, and where an image was loaded or an era began.

    Args:
        session: what to look at.
        choice: what to show of it.
        known: keeps looked-up addresses from one picture to the next; in one thread at a time.
        pause: what the view stays at.
        before: the facts of the last picture; tells whether sampling is being held off now.
        cells: how many buckets the timeline may have.
        exits: where VM exits are counted.
        lines: tells the lines of source; None where they cannot be had.
    """
    # Asked before the snapshot: what comes with the end is then in the last picture.
    ended, failure = session.ended, session.failure
    live = session.snapshot()
    alike = known.alike(live)
    vcpus = shown_vcpus = vcpu_modes(alike, alike.placement.mode, live.facts)
    timeline = known.kept(Busy, Busy).timeline(live.samples, known.of(live).mode, cells)
    looked_up, profile = known, live
    if pause is not None:
        profile, looked_up = pause.profile, pause.known
        then = looked_up.alike(profile)
        shown_vcpus = vcpu_modes(then, then.placement.mode, profile.facts)
    seen = choice.span.seen(profile)
    chosen = choice.filter(seen)
    group = choice.group if choice.view is View.TOP else Group.MODE
    # By name every row is needed to know which comes first.
    by = {"": SortKey.SELF, "self": SortKey.SELF, "samples": SortKey.SELF, "total": SortKey.TOTAL}
    order = choice.orders.get(View.TOP, Order())
    most = MOST_ROWS if order.key in by and not order.reverse else None
    table = tabulate(
        seen.profile,
        chosen,
        group,
        looked_up,
        most=most,
        by=by.get(order.key, SortKey.SELF),
        lines=lines,
    )
    picture = Picture(
        state=_state(live.facts, before, ended=ended, paused=pause is not None),
        failure=failure,
        live=live,
        shown=seen.profile,
        choice=choice,
        filter=chosen,
        table=table,
        scale=seen.scale,
        vcpus=vcpus,
        modes=_summed(shown_vcpus, choice),
        timeline=timeline,
        places=alike.placement.places,
    )
    return _with_view(picture, looked_up, exits)


def _with_view(picture: Picture, known: Resolution, exits: ExitSource | None) -> Picture:
    """The picture with what its view shows."""
    choice, shown = picture.choice, picture.shown
    if choice.view is View.TOP:
        columns = columns_for(choice.group, shown, picture.table, picture.scale)
        rows, sort = _ordered(picture.table.rows, columns, choice.order)
        return replace(picture, sheet=Sheet(columns, Rows.of(rows, key_of(choice.group)), sort))
    if choice.view is View.SYMBOLS:
        found = image_rows(shown, picture.filter.counted(shown, known))
        image_sheet = image_columns(shown, picture.scale)
        images, sort = _ordered(tuple(found), image_sheet, choice.order)
        return replace(picture, sheet=Sheet(image_sheet, as_rows(list(images)), sort))
    if choice.view is View.EXITS:
        return _with_exits(picture, exits)
    direction = Direction.UP if choice.inverted else Direction.DOWN
    return replace(picture, tree=call_tree(shown, picture.filter, known, direction=direction))


def _with_exits(picture: Picture, exits: ExitSource | None) -> Picture:
    if exits is None:
        return picture
    choice = picture.choice
    by = GROUPS[choice.exit_group % len(GROUPS)]
    try:
        look = ExitLook(exits.count(by), exits.names(), by)
    except GprofError as error:
        return replace(picture, complaint=error)
    columns = exit_columns(look)
    rows, sort = _ordered(look.table.rows, columns, choice.order)
    return replace(picture, exits=look, sheet=Sheet(columns, exit_rows(rows), sort))


def vcpu_modes(
    samples: SampleBatch | Alike, modes: UInt8s, facts: SourceFacts | None = None
) -> tuple[VcpuModes, ...]:
    """The modes of every vcpu that has samples, by guest and index.

    Args:
        samples: the samples, or groups of them.
        modes: the mode of each; below `len(Mode)`.
        facts: tell what the host gave the vcpus, where it is known and the guest is one.
    """
    found = []
    steal: dict[int, float] = {}
    if facts is not None and facts.covered_ns:
        steal = {i: time.waited_ns / facts.covered_ns for i, time in facts.vcpu_times.items()}
    guests = np.flatnonzero(np.bincount(samples.guest))
    for guest in guests:
        vcpu, mode, weight = samples.vcpu, modes, samples.weight.astype(np.int64)
        if len(guests) > 1:
            chosen = samples.guest == guest
            vcpu, mode, weight = vcpu[chosen], mode[chosen], weight[chosen]
        weights = _weights(vcpu, mode, weight)
        found += [
            VcpuModes(
                int(guest),
                int(vcpu),
                {mode: int(weights[vcpu, mode]) for mode in Mode},
                steal.get(int(vcpu)),
            )
            for vcpu in np.flatnonzero(weights.any(axis=1))
        ]
    return tuple(found)


def _weights(vcpu: UInt16s, mode: UInt8s, weight: Int64s) -> NDArray[np.int64]:
    """Summed weights as an array of vcpus by modes."""
    cell = vcpu.astype(np.int64) * len(Mode) + mode
    rows = int(vcpu.max(initial=0)) + 1
    # Weights sum as doubles: exact below 2^53.
    return np.bincount(cell, weight, rows * len(Mode)).astype(np.int64).reshape(rows, len(Mode))


def _summed(vcpus: tuple[VcpuModes, ...], choice: Choice) -> dict[Mode, int]:
    kept = [v for v in vcpus if choice.vcpu in {None, v.vcpu} and choice.guest in {None, v.guest}]
    return {mode: sum(v.weights[mode] for v in kept) for mode in Mode}


def _ordered(
    rows: tuple[T, ...], columns: tuple[Column[T], ...], order: Order
) -> tuple[tuple[T, ...], tuple[str, bool]]:
    """The rows in an order, and what that order is: a table may lack the column."""
    column = next((c for c in columns if c.key == order.key and c.order), columns[0])
    falling = column.falling ^ order.reverse
    if column.order is None:
        return rows, (column.key, falling)
    return tuple(sorted(rows, key=column.order, reverse=falling)), (column.key, falling)


def _state(facts: SourceFacts, before: SourceFacts | None, *, ended: bool, paused: bool) -> State:
    if ended:
        return State.ENDED
    if before is not None and facts.held_ns > before.held_ns and facts.taken == before.taken:
        return State.HELD
    return State.PAUSED if paused else State.LIVE


def groups_of(profile: Profile, *, lines: bool = False) -> tuple[Group, ...]:
    """The groupings that make sense: by guest where there are several, by known tasks, by lines.

    Args:
        profile: what is looked at.
        lines: the lines of source can be had.
    """
    return tuple(
        group
        for group in Group
        if (group is not Group.GUEST or len(profile.guests) > 1)
        and (group not in TASK_GROUPS or len(profile.tasks) > 1)
        and (group is not Group.LINE or lines)
    )
