"""The columns of the top table, for each way of grouping."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from gprof.profile.profile import Profile
from gprof.profile.view import TASK_GROUPS, Group, Row, Table
from gprof.sampling.source import Mode
from symbols.space import Reason
from tui.toned import Piece, Tone
from tui.widgets.column import Column, Share

_MODE_TONES = {
    Mode.KERNEL: Tone.PLAIN,
    Mode.USER: Tone.USER,
    Mode.IDLE: Tone.IDLE,
}


def columns_for(group: Group, profile: Profile, table: Table) -> tuple[Column[Row], ...]:
    """The columns of one grouping, widest need first; `self` is always the first.

    Totals are shown only where stacks were taken: without them they equal self.
    """
    columns = [*_self(table)]
    if len(profile.stacks) > 1:
        columns += _total(table)
    if group is Group.SYMBOL:
        columns += [
            Column("symbol", "Symbol", 0, _symbol, lambda row: row.label),
            Column("module", "Module", 14, lambda row: row.module, lambda row: row.module, rank=1),
            Column("mode", "Mode", 8, _mode, lambda row: row.mode.label, rank=3),
        ]
        if len(profile.guests) > 1:
            columns.append(_guest(profile, 12))
    elif group is Group.MODULE:
        columns += [
            Column("module", "Module", 0, _module, lambda row: row.module),
            Column("mode", "Mode", 8, _mode, lambda row: row.mode.label, rank=1),
        ]
        if len(profile.guests) > 1:
            columns.append(_guest(profile, 12))
    elif group is Group.MODE:
        columns.append(Column("mode", "Mode", 0, _mode, lambda row: row.mode.label))
    elif group is Group.VCPU:
        columns.append(Column("vcpu", "Vcpu", 0, _vcpu, lambda row: (row.guest, row.vcpu)))
        if len(profile.guests) > 1:
            columns.append(_guest(profile, 24))
    elif group in TASK_GROUPS:
        columns += [
            Column(group.value, group.value.capitalize(), 0, lambda row: row.label, _by_task),
            Column("mode", "Mode", 8, _mode_of_task, lambda row: row.mode.label, rank=1),
        ]
        if len(profile.guests) > 1:
            columns.append(_guest(profile, 12))
    else:
        columns.append(_guest(profile, 0))
    return tuple(columns)


def key_of(group: Group) -> Callable[[Row], Hashable]:
    """What makes a row the same row in the next table."""
    if group is Group.SYMBOL:
        # The address tells symbols of one name apart; that of an unresolved row may move.
        return lambda row: (
            row.guest,
            row.module,
            row.label,
            row.mode,
            row.reason,
            row.address if row.symbol is not None else 0,
        )
    if group is Group.MODULE:
        return lambda row: (row.guest, row.module, row.mode, row.reason)
    if group is Group.MODE:
        return lambda row: row.mode
    if group in TASK_GROUPS:
        return lambda row: (row.guest, row.label, row.mode is Mode.IDLE)
    return lambda row: (row.guest, row.vcpu)


def _self(table: Table) -> list[Column[Row]]:
    largest = max((row.self_weight for row in table.rows), default=0)

    def share(row: Row) -> Share:
        # Bars compare rows with each other, so the largest fills its own; the number is absolute.
        length = row.self_weight / largest if largest else 0.0
        return Share(table.percent(row.self_weight), length)

    return [
        Column(
            "self", "Self %", 19, share, lambda row: row.self_weight, falling=True, stretch=14
        ),
        Column(
            "samples", "Samples", 9, lambda row: row.self_weight, lambda row: row.self_weight,
            falling=True, right=True, rank=2,
        ),
    ]  # fmt: skip


def _total(table: Table) -> list[Column[Row]]:
    return [
        Column(
            "total", "Total %", 9, lambda row: f"{table.percent(row.total_weight):.2f}",
            lambda row: row.total_weight, falling=True, right=True,
        ),
    ]  # fmt: skip


def _guest(profile: Profile, width: int) -> Column[Row]:
    def name(row: Row) -> str:
        guest = profile.guests.get(row.guest)
        return guest.name if guest else ("several" if row.guest < 0 else f"guest {row.guest}")

    return Column("guest", "Guest", width, name, name, rank=2)


def _symbol(row: Row) -> Piece:
    if row.symbol is None:
        return _with_reason(row.label, row)
    return row.symbol, _MODE_TONES.get(row.mode, Tone.OTHER)


def _module(row: Row) -> Piece:
    if row.reason is Reason.RESOLVED:
        return row.module, _MODE_TONES.get(row.mode, Tone.OTHER)
    return _with_reason(row.module, row)


def _with_reason(label: str, row: Row) -> Piece:
    if row.reason in {
        Reason.USER_SPACE,
        Reason.USER_PROGRAM,
    }:  # nothing failed, and the label says it
        return label, _MODE_TONES.get(row.mode, Tone.OTHER)
    return f"{label} ({row.reason.sentence})", Tone.DIM


def _mode(row: Row) -> Piece:
    return row.mode.label, _MODE_TONES.get(row.mode, Tone.OTHER)


def _by_task(row: Row) -> tuple[str, int]:
    return (row.task.name, row.task.pid) if row.task is not None else ("", 0)


def _mode_of_task(row: Row) -> Piece:
    return _mode(row) if row.mode is not Mode.UNKNOWN else ("several", Tone.PLAIN)


def _vcpu(row: Row) -> str:
    return f"vcpu {row.vcpu}" if row.vcpu >= 0 else "several"
