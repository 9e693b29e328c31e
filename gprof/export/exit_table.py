"""VM-exit statistics as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any

from gprof.export.table import no_formula
from gprof.profile.exit_summary import ExitRow, ExitTable
from symbols.names import printable

_NUMBERS = (
    "count", "share_percent", "total_ns", "time_percent", "min_ns", "max_ns", "mean_ns",
    "deviation_percent", "p50_ns", "p99_ns",
)  # fmt: skip
_TIMES = {"host": "time outside the guest", "guest": "time in the guest"}


def exit_json(table: ExitTable, guests: Mapping[int, str]) -> str:
    """One JSON object, on one line. Columns may be added, never renamed.

    Args:
        table: what to print.
        guests: names by id.
    """
    content = {
        "events": table.events,
        "unpaired": table.unpaired,
        "lost": table.lost,
        "rows": [_fields(row, guests) for row in table.rows],
    }
    return json.dumps(content) + "\n"


def exit_csv(table: ExitTable, guests: Mapping[int, str]) -> str:
    """Comma-separated values with a heading; empty where a row holds several, or none is known."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["guest", "vcpu", "reason", "symbol", *_NUMBERS])
    for row in table.rows:
        values = _fields(row, guests).values()
        lines.writerow(
            no_formula(v) if isinstance(v, str) else "" if v is None else v for v in values
        )
    return text.getvalue()


def exit_notes(table: ExitTable) -> list[str]:
    """What a person must know of the figures, whatever form they have."""
    notes = [printable(note) for note in table.notes]
    if table.measures == "guest":
        notes.insert(0, "this architecture tells how long the guest ran before each exit, not how "
                        "long the host took for it")  # fmt: skip
    return notes


def exit_text(
    table: ExitTable, guests: Mapping[int, str], *, limit: int | None = None
) -> Iterator[str]:
    """The lines of a table for people; times in microseconds."""
    yield (
        f"# {table.events} exits, {table.total_ns / 1e6:.3f} ms of {_TIMES[table.measures]}; "
        f"{table.unpaired} unpaired, {table.lost} lost"
    )
    yield from (f"# note: {note}" for note in exit_notes(table))
    yield "#"
    if not table.rows:
        yield "# no exits"
        return
    shown = table.rows[:limit]
    several = len({row.guest for row in table.rows} - {None}) > 1
    texts = {
        "Guest": [printable(_guest(row, guests)) for row in shown] if several else [],
        "Vcpu": [] if all(row.vcpu is None for row in shown) else [_number(r.vcpu) for r in shown],
        "Reason": [printable(row.reason) for row in shown] if any(r.reason for r in shown) else [],
        "Symbol": []
        if all(row.symbol is None for row in shown)
        else [printable(row.symbol) if row.symbol is not None else "[unknown]" for row in shown],
    }
    columns = [[title, *values] for title, values in texts.items() if values]
    columns += [
        ["Count", *(str(row.count) for row in shown)],
        ["Share%", *(f"{row.share_percent:.2f}" for row in shown)],
        ["Time%", *(f"{row.time_percent:.2f}" for row in shown)],
        ["Min µs", *(f"{row.min_ns / 1e3:.2f}" for row in shown)],
        ["P50 µs", *(f"{row.p50_ns / 1e3:.2f}" for row in shown)],
        ["P99 µs", *(f"{row.p99_ns / 1e3:.2f}" for row in shown)],
        ["Max µs", *(f"{row.max_ns / 1e3:.2f}" for row in shown)],
        ["Mean µs", *(f"{row.mean_ns / 1e3:.2f}" for row in shown)],
        ["± %", *(f"{row.deviation_percent:.2f}" for row in shown)],
    ]
    left = len([values for values in texts.values() if values])
    widths = [max(map(len, column)) for column in columns]
    for number, cells in enumerate(zip(*columns, strict=True)):
        aligned = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield ("  " if number else "# ") + "  ".join(aligned).rstrip()
    if len(shown) < len(table.rows):
        yield f"# {len(table.rows) - len(shown)} more rows are not shown"


def _fields(row: ExitRow, guests: Mapping[int, str]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "guest": _guest(row, guests),
        "vcpu": row.vcpu,
        "reason": row.reason,
        "symbol": row.symbol,
    }
    return content | {name: getattr(row, name) for name in _NUMBERS}


def _guest(row: ExitRow, guests: Mapping[int, str]) -> str:
    if row.guest is not None:
        return guests.get(row.guest, "")
    return next(iter(guests.values())) if len(guests) == 1 else ""


def _number(vcpu: int | None) -> str:
    return "?" if vcpu is None else str(vcpu)
