"""The rows of the Exits view."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gprof.profile.exit_summary import ExitGroup, ExitRow, ExitTable
from tui.toned import Tone
from tui.widgets.column import Cell, Column, Rows, Share

#: What rows can be kept apart by, in the order of the key that changes it.
GROUPS: tuple[tuple[ExitGroup, ...], ...] = (
    (ExitGroup.REASON,),
    (ExitGroup.REASON, ExitGroup.SYMBOL),
    (ExitGroup.VCPU, ExitGroup.REASON),
    (ExitGroup.VM,),
)


class ExitSource(Protocol):
    """Where measured VM exits come from; `gprof.exit_watch.ExitWatch` is one."""

    def count(self, by: Sequence[ExitGroup]) -> ExitTable:
        """What was counted until now, the longest time first.

        Raises:
            SymbolsError: a symbol file is of another kernel.
        """
        ...

    def names(self) -> Mapping[int, str]:
        """The names of the guests by id."""
        ...


@dataclass(frozen=True, slots=True)
class ExitLook:
    """The exits of one look.

    Attributes:
        table: what was counted.
        names: of the guests.
        by: what the rows are kept apart by.
    """

    table: ExitTable
    names: Mapping[int, str]
    by: tuple[ExitGroup, ...]


def exit_columns(look: ExitLook) -> tuple[Column[ExitRow], ...]:
    """The columns for what the rows are kept apart by; the names come first."""
    largest = max((row.total_ns for row in look.table.rows), default=0)

    def time(row: ExitRow) -> Share:
        return Share(row.time_percent, row.total_ns / largest if largest else 0.0)

    def guest(row: ExitRow) -> str:
        return "" if row.guest is None else look.names.get(row.guest, f"guest {row.guest}")

    columns: list[Column[ExitRow]] = [
        Column("time", "Time %", 19, time, lambda row: row.total_ns, falling=True, stretch=8),
        Column("count", "Exits", 10, lambda row: row.count, lambda row: row.count,
               falling=True, right=True),
    ]  # fmt: skip
    if ExitGroup.VM in look.by or ExitGroup.VCPU in look.by:
        width = 0 if look.by == (ExitGroup.VM,) else 14
        columns.append(Column("guest", "Guest", width, guest, guest))
    if ExitGroup.VCPU in look.by:
        columns.append(Column("vcpu", "Vcpu", 5, _vcpu, lambda row: row.vcpu or 0, right=True))
    if ExitGroup.REASON in look.by:
        wide = 22 if ExitGroup.SYMBOL in look.by else 0
        columns.append(
            Column("reason", "Reason", wide, lambda row: row.reason, lambda row: row.reason)
        )
    if ExitGroup.SYMBOL in look.by:
        columns.append(Column("symbol", "Function at the exit", 0, _symbol,
                              lambda row: row.symbol or ""))  # fmt: skip
    columns += [
        _nanoseconds("mean", "Mean", lambda row: row.mean_ns, 1),
        _nanoseconds("p99", "99 %", lambda row: row.p99_ns, 2),
        _nanoseconds("min", "Min", lambda row: row.min_ns, 4),
        _nanoseconds("max", "Max", lambda row: row.max_ns, 3),
    ]
    return tuple(columns)


def exit_rows(rows: Iterable[ExitRow]) -> Rows[ExitRow]:
    """The rows with their keys."""
    return Rows.of(rows, lambda row: (row.guest, row.vcpu, row.reason, row.symbol))


def microseconds(nanoseconds: float) -> str:
    """A duration as the tables show it: `4.21 us`, `1,250 us`."""
    value = nanoseconds / 1000
    return f"{value:,.0f} us" if value >= 1000 else f"{value:.2f} us"


def _nanoseconds(
    key: str, title: str, value: Callable[[ExitRow], float], rank: int
) -> Column[ExitRow]:
    return Column(
        key, title, 11, lambda row: microseconds(value(row)), value, falling=True, right=True,
        rank=rank,
    )  # fmt: skip


def _vcpu(row: ExitRow) -> Cell:
    return "" if row.vcpu is None else str(row.vcpu)


def _symbol(row: ExitRow) -> Cell:
    return ("unknown", Tone.DIM) if row.symbol is None else row.symbol
