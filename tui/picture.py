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
from gprof.profile.view import Group, Row, Table, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
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
        modes: weights by mode in `shown`, of the vcpu that was chosen.
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


def take_picture(
    session: Session,
    choice: Choice,
    *,
    paused: Profile | None = None,
    before: SourceFacts | None = None,
    known: Resolution | None = None,
) -> Picture:
    """Look at a session. Costs what `tabulate` costs; meant for a worker thread.

    Args:
        session: what to look at.
        choice: what to show of it.
        paused: the profile that the table stays at.
        before: the facts of the last picture; tells whether sampling is being held off now.
        known: keeps looked-up addresses from one picture to the next.
    """
    # Asked before the snapshot: what comes with the end is then in the last picture.
    ended, failure = session.ended, session.failure
    live = session.snapshot()
    shown = live if paused is None else paused
    table = tabulate(shown, choice.filter(), choice.group, known)
    columns = columns_for(choice.group, shown, table)
    rows, sort = _ordered(table.rows, columns, choice)
    vcpus = vcpu_modes(live.samples)
    return Picture(
        state=_state(live.facts, before, ended=ended, paused=paused is not None),
        failure=failure,
        live=live,
        shown=shown,
        choice=choice,
        table=table,
        columns=columns,
        rows=Rows.of(rows, key_of(choice.group)),
        sort=sort,
        vcpus=vcpus,
        modes=_summed(vcpus if paused is None else vcpu_modes(shown.samples), choice.vcpu),
    )


def vcpu_modes(samples: SampleBatch) -> tuple[VcpuModes, ...]:
    """The modes of every vcpu that has samples, by guest and index."""
    found = []
    for guest in np.flatnonzero(np.bincount(samples.guest)):
        # A guest's columns are taken out only where there are several: most profiles have one.
        chosen = samples.guest == guest
        part = samples if chosen.all() else samples.select(chosen)
        weights = _weights(part)
        found += [
            VcpuModes(int(guest), int(vcpu), {mode: int(weights[vcpu, mode]) for mode in Mode})
            for vcpu in np.flatnonzero(weights.any(axis=1))
        ]
    return tuple(found)


def _weights(samples: SampleBatch) -> NDArray[np.int64]:
    """Summed weights as an array of vcpus by modes; modes that nobody knows count as unknown."""
    known = len(Mode)
    mode = np.where(samples.mode < known, samples.mode, Mode.UNKNOWN).astype(np.int64)
    cell = samples.vcpu.astype(np.int64) * known + mode
    # Weights sum as doubles: exact below 2^53.
    counted = np.bincount(cell, samples.weight).astype(np.int64)
    counted.resize(-(-len(counted) // known) * known)
    return counted.reshape(-1, known)


def _summed(vcpus: tuple[VcpuModes, ...], chosen: int | None) -> dict[Mode, int]:
    kept = [v for v in vcpus if chosen is None or v.vcpu == chosen]
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
    """The groupings that make sense of a profile: by guest only where there are several."""
    return tuple(g for g in Group if g is not Group.GUEST or len(profile.guests) > 1)
