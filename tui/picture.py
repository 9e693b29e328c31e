"""One frozen look at a session: the table and the header's figures, computed off the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gprof.errors import GprofError
from gprof.live import Session
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.view import TASK_GROUPS, Group, Row, Table, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts, UInt8s, UInt16s, UInt32s
from tui.choice import Choice
from tui.columns import columns_for, key_of
from tui.widgets.column import Column, Rows


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
    """

    guest: int
    vcpu: int
    weights: Mapping[Mode, int]


@dataclass(frozen=True, slots=True)
class Picture:
    """What the screen shows until the next picture.

    Attributes:
        state: what the session is doing.
        failure: why it ended, where it did not end as asked.
        live: the profile when the picture was taken; the header's figures are of this.
        shown: the profile that the table is of: `live`, or an earlier one while paused.
        choice: what the table was made for.
        table: the counted rows.
        columns: of the table.
        rows: those rows in the chosen order.
        sort: key of the column they are sorted by, and whether the largest comes first.
        vcpus: modes of every vcpu in `live`, unfiltered.
        modes: weights by mode in `shown`, of the vcpu that was chosen; as the table has them,
            where kernel code in an idle function is idle.
    """

    state: State
    failure: GprofError | None
    live: Profile
    shown: Profile
    choice: Choice
    table: Table
    columns: tuple[Column[Row], ...]
    rows: Rows[Row]
    sort: tuple[str, bool]
    vcpus: tuple[VcpuModes, ...]
    modes: Mapping[Mode, int]

    def share(self, mode: Mode) -> float:
        """Percent of the samples that were in a mode, those left out included."""
        total = sum(self.modes.values())
        return 100.0 * self.modes.get(mode, 0) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Where the table stays while sampling goes on.

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
) -> Picture:
    """Look at a session. Costs what `tabulate` costs; meant for a worker thread.

    Args:
        session: what to look at.
        choice: what to show of it.
        known: keeps looked-up addresses from one picture to the next; in one thread at a time.
        pause: what the table stays at.
        before: the facts of the last picture; tells whether sampling is being held off now.
    """
    # Asked before the snapshot: what comes with the end is then in the last picture.
    ended, failure = session.ended, session.failure
    live = session.snapshot()
    vcpus = shown_vcpus = vcpu_modes(live.samples, known.of(live).mode)
    shown, looked_up = live, known
    if pause is not None:
        shown, looked_up = pause.profile, pause.known
        shown_vcpus = vcpu_modes(shown.samples, looked_up.of(shown).mode)
    table = tabulate(shown, choice.filter(), choice.group, looked_up)
    columns = columns_for(choice.group, shown, table)
    rows, sort = _ordered(table.rows, columns, choice)
    return Picture(
        state=_state(live.facts, before, ended=ended, paused=pause is not None),
        failure=failure,
        live=live,
        shown=shown,
        choice=choice,
        table=table,
        columns=columns,
        rows=Rows.of(rows, key_of(choice.group)),
        sort=sort,
        vcpus=vcpus,
        modes=_summed(shown_vcpus, choice),
    )


def vcpu_modes(samples: SampleBatch, modes: UInt8s) -> tuple[VcpuModes, ...]:
    """The modes of every vcpu that has samples, by guest and index.

    Args:
        samples: the samples.
        modes: the mode of each; below `len(Mode)`.
    """
    found = []
    for guest in np.flatnonzero(np.bincount(samples.guest)):
        chosen = samples.guest == guest
        weights = _weights(samples.vcpu[chosen], modes[chosen], samples.weight[chosen])
        found += [
            VcpuModes(int(guest), int(vcpu), {mode: int(weights[vcpu, mode]) for mode in Mode})
            for vcpu in np.flatnonzero(weights.any(axis=1))
        ]
    return tuple(found)


def _weights(vcpu: UInt16s, mode: UInt8s, weight: UInt32s) -> NDArray[np.int64]:
    """Summed weights as an array of vcpus by modes."""
    cell = vcpu.astype(np.int64) * len(Mode) + mode
    rows = int(vcpu.max(initial=0)) + 1
    # Weights sum as doubles: exact below 2^53.
    return np.bincount(cell, weight, rows * len(Mode)).astype(np.int64).reshape(rows, len(Mode))


def _summed(vcpus: tuple[VcpuModes, ...], choice: Choice) -> dict[Mode, int]:
    kept = [v for v in vcpus if choice.vcpu in {None, v.vcpu} and choice.guest in {None, v.guest}]
    return {mode: sum(v.weights[mode] for v in kept) for mode in Mode}


def _ordered(
    rows: tuple[Row, ...], columns: tuple[Column[Row], ...], choice: Choice
) -> tuple[tuple[Row, ...], tuple[str, bool]]:
    """The rows in the chosen order, and what that order is: a grouping may lack the column."""
    column = next((c for c in columns if c.key == choice.sort), columns[0])
    falling = column.falling ^ choice.reverse
    if column.order is None:
        return rows, (column.key, falling)
    return tuple(sorted(rows, key=column.order, reverse=falling)), (column.key, falling)


def _state(facts: SourceFacts, before: SourceFacts | None, *, ended: bool, paused: bool) -> State:
    if ended:
        return State.ENDED
    if before is not None and facts.held_ns > before.held_ns and facts.taken == before.taken:
        return State.HELD
    return State.PAUSED if paused else State.LIVE


def groups_of(profile: Profile) -> tuple[Group, ...]:
    """The groupings that make sense: by guest where there are several, by known tasks."""
    return tuple(
        group
        for group in Group
        if (group is not Group.GUEST or len(profile.guests) > 1)
        and (group not in TASK_GROUPS or len(profile.tasks) > 1)
    )
