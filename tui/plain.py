"""The top table line by line: for pipes, logs and screen readers. No escapes, no cursor moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from gprof.live import Session
from gprof.profile.resolution import Resolution
from gprof.profile.view import Group, Row
from gprof.sampling.source import SourceFacts
from symbols.names import printable
from tui.choice import Choice
from tui.facts import (
    amount_items,
    cost_items,
    guest_items,
    source_items,
    trouble_items,
)
from tui.picture import Picture, take_picture
from tui.pills import pills
from tui.toned import Piece, Tone
from tui.view import View

#: How soon the end of a session is noticed, seconds.
_NOTICE_S = 0.1


class TextOut(Protocol):
    """Where the text goes."""

    def write(self, text: str, /) -> object:
        """Append text."""
        ...

    def flush(self) -> object:
        """Pass it on now."""
        ...


def print_plain(
    session: Session,
    out: TextOut,
    *,
    interval_s: float = 2.0,
    duration_s: float | None = None,
    rows: int = 20,
    choice: Choice | None = None,
    budget_percent: float | None = None,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Print a block each interval until the session ends, and a last one of all there was.

    A session that has ended before, such as a recording, gives one block. How the session
    failed is left to the caller (`Session.failure`).

    Args:
        session: what to look at.
        out: where to write; flushed after each block.
        interval_s: seconds between two blocks.
        duration_s: stop after so many seconds; None goes on until the session ends.
        rows: how many rows a block has at most.
        choice: filter, grouping and order; by default symbols without idle, most samples first.
        budget_percent: how much the guest may be halted, to print beside what it is.
        stop: stops it when set, for instance by a signal handler.
        clock: monotonic time in seconds.
    """
    choice = replace(choice or Choice(), view=View.TOP)
    stop = stop or threading.Event()
    known = Resolution()
    facts: SourceFacts | None = None
    started = clock()
    end = None if duration_s is None else started + duration_s
    due = started + interval_s
    while True:
        wake = due if end is None else min(due, end)
        while not session.ended and not stop.is_set() and (left := wake - clock()) > 0:
            stop.wait(min(left, _NOTICE_S))
        over = session.ended or stop.is_set() or (end is not None and clock() >= end)
        picture = take_picture(session, choice, known, before=facts)
        for line in block(picture, rows, budget_percent):
            out.write(line + "\n")
        out.flush()
        if over:
            return
        out.write("\n")
        facts = picture.live.facts
        # A block that took long makes the next ones later, never several at once.
        due = max(due + interval_s, clock())


def block(picture: Picture, rows: int, budget_percent: float | None = None) -> Iterator[str]:
    """The lines of one block: the facts of the header, then the first rows of the table."""
    profile, facts = picture.live, picture.live.facts
    state = [[(picture.state.value, Tone.PLAIN)]]
    yield _text([*guest_items(profile), *source_items(facts), *state])
    yield _text([*cost_items(facts, budget_percent), *amount_items(profile)])
    choice = [[(f"by {picture.choice.group.value}", Tone.PLAIN)]]
    choice += [[(f" {pill.text} ", Tone.PILL)] for pill in pills(picture)]
    yield _text([*trouble_items(facts, picture.table), *choice])
    if facts.notes:
        yield printable(f"note: {facts.notes[-1]}")
    yield from table_text(picture, rows)


def table_text(picture: Picture, rows: int) -> Iterator[str]:
    """The header of the table and its first rows; names come last and are never cut."""
    assert picture.sheet is not None  # `print_plain` chooses Top
    shown: Sequence[Row] = picture.sheet.rows.items[:rows]
    totals = any(column.key == "total" for column in picture.sheet.columns)
    by_place = picture.choice.group in {Group.SYMBOL, Group.MODULE}
    name = picture.choice.group.value.capitalize()
    heads = ["Self %", "Samples"] + (["Total %"] if totals else [])
    heads += ["Mode"] if by_place else []
    guests = by_place and len(picture.shown.guests) > 1
    heads += ["Guest"] if guests else []
    heads += ["Module", name] if picture.choice.group is Group.SYMBOL else [name]
    lines = [
        heads,
        *(_cells(row, picture, totals=totals, by_place=by_place, guests=guests) for row in shown),
    ]
    numbers = 3 if totals else 2
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads) - 1)]
    for line in lines:
        aligned = [
            text.rjust(width) if i < numbers else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=False))
        ]
        yield "  ".join([*aligned, line[-1]])


def _cells(row: Row, picture: Picture, *, totals: bool, by_place: bool, guests: bool) -> list[str]:
    table = picture.table
    cells = [f"{table.percent(row.self_weight):.2f}", f"{row.self_weight}"]
    if totals:
        cells.append(f"{table.percent(row.total_weight):.2f}")
    if by_place:
        cells.append(row.mode.label)
    if guests:
        guest = picture.shown.guests.get(row.guest)
        cells.append(printable(guest.name) if guest else "several")
    if picture.choice.group is Group.SYMBOL:
        cells.append(printable(row.module))
    cells.append(printable(row.label))
    return cells


def _text(items: Iterable[Sequence[Piece]]) -> str:
    return printable("  ".join("".join(text for text, _ in item).strip() for item in items))
