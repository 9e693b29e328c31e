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


def columns_for(
    group: Group, profile: Profile, table: Table, scale: int = 1
) -> tuple[Column[Row], ...]:
    """The columns of one grouping, widest need first; `self` is always the first.

    Totals are shown only where stacks were taken: without them they equal self.

    Args:
        group: what a row stands for.
        profile: what was counted.
        table: the rows.
        scale: what a sample of weight one counts in them.
    """
    columns = [*_self(table, scale)]
    if len(profile.stacks) > 1 and group is not Group.LINE:  # whose callers are not counted
        columns += _total(table)
    several = len(profile.guests) > 1
    columns += _NAMING.get(group, _by_label)(group)
    if group is Group.GUEST:
        columns.append(_guest(profile, 0))
    elif several and group is not Group.MODE:
        columns.append(_guest(profile, 24 if group is Group.VCPU else 12))
    return tuple(columns)


def _by_symbol(_: Group) -> list[Column[Row]]:
    return [
        Column("symbol", "Symbol", 0, _symbol, lambda row: row.label),
        Column("module", "Module", 14, lambda row: row.module, lambda row: row.module, rank=1),
        Column("mode", "Mode", 8, _mode, lambda row: row.mode.label, rank=3),
    ]


def _by_module(_: Group) -> list[Column[Row]]:
    return [
        Column("module", "Module", 0, _module, lambda row: row.module),
        Column("mode", "Mode", 8, _mode, lambda row: row.mode.label, rank=1),
    ]


def _by_mode(_: Group) -> list[Column[Row]]:
    return [Column("mode", "Mode", 0, _mode, lambda row: row.mode.label)]


def _by_vcpu(_: Group) -> list[Column[Row]]:
    return [Column("vcpu", "Vcpu", 0, _vcpu, lambda row: (row.guest, row.vcpu))]


def _by_guest(_: Group) -> list[Column[Row]]:
    return []  # the column of guests says it


def _by_task(group: Group) -> list[Column[Row]]:
    return [
        Column(group.value, group.value.capitalize(), 0, lambda row: row.label, _task),
        Column("mode", "Mode", 8, _mode_of_task, lambda row: row.mode.label, rank=1),
    ]


def _by_line(_: Group) -> list[Column[Row]]:
    return [
        Column("line", "Line", 0, _line, lambda row: (row.frame is None, row.label)),
        Column("function", "Function", 26, _function, _function, rank=2),
        Column("module", "Module", 14, lambda row: row.module, lambda row: row.module, rank=1),
        Column("mode", "Mode", 8, _mode, lambda row: row.mode.label, rank=3),
    ]


def _by_label(group: Group) -> list[Column[Row]]:
    """For whatever else rows can stand for."""
    return [
        Column(group.value, group.value.capitalize(), 0, lambda row: row.label,
               lambda row: row.label)
    ]  # fmt: skip


_NAMING: dict[Group, Callable[[Group], list[Column[Row]]]] = {
    Group.SYMBOL: _by_symbol,
    Group.MODULE: _by_module,
    Group.MODE: _by_mode,
    Group.VCPU: _by_vcpu,
    Group.GUEST: _by_guest,
    Group.LINE: _by_line,
    **dict.fromkeys(TASK_GROUPS, _by_task),
}


def key_of(group: Group) -> Callable[[Row], Hashable]:
    """What makes a row the same row in the next table."""
    return _KEYS.get(group, _labelled)


def _labelled(row: Row) -> Hashable:
    return row.guest, row.module, row.label, row.mode, row.address


_KEYS: dict[Group, Callable[[Row], Hashable]] = {
    # The address tells symbols of one name apart; that of an unresolved row may move.
    Group.SYMBOL: lambda row: (
        row.guest,
        row.module,
        row.label,
        row.mode,
        row.reason,
        row.address if row.symbol is not None else 0,
    ),
    Group.MODULE: lambda row: (row.guest, row.module, row.mode, row.reason),
    Group.MODE: lambda row: row.mode,
    Group.VCPU: lambda row: (row.guest, row.vcpu),
    Group.GUEST: lambda row: row.guest,
    Group.LINE: lambda row: (row.guest, row.module, row.mode, row.label, row.frame),
    **dict.fromkeys(TASK_GROUPS, lambda row: (row.guest, row.label, row.mode is Mode.IDLE)),
}


def _self(table: Table, scale: int) -> list[Column[Row]]:
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
            "samples", "Samples", 9, lambda row: round(row.self_weight / scale),
            lambda row: row.self_weight, falling=True, right=True, rank=2,
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


def _line(row: Row) -> Piece:
    if row.frame is None:
        return row.label, Tone.DIM
    return row.label, _MODE_TONES.get(row.mode, Tone.OTHER)


def _function(row: Row) -> str:
    return row.frame.function if row.frame is not None else ""


def _module(row: Row) -> Piece:
    if row.reason is Reason.RESOLVED:
        return row.module, _MODE_TONES.get(row.mode, Tone.OTHER)
    return _with_reason(row.module, row)


def _with_reason(label: str, row: Row) -> Piece:
    if row.reason.expected:  # nothing failed, and the label says it
        return label, _MODE_TONES.get(row.mode, Tone.OTHER)
    return f"{label} ({row.reason.sentence})", Tone.DIM


def _mode(row: Row) -> Piece:
    return row.mode.label, _MODE_TONES.get(row.mode, Tone.OTHER)


def _task(row: Row) -> tuple[str, int]:
    return (row.task.name, row.task.pid) if row.task is not None else ("", 0)


def _mode_of_task(row: Row) -> Piece:
    return _mode(row) if row.mode is not Mode.UNKNOWN else ("several", Tone.PLAIN)


def _vcpu(row: Row) -> str:
    return f"vcpu {row.vcpu}" if row.vcpu >= 0 else "several"
