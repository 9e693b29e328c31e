"""What the annotate screen shows of a listing: rows, columns, and the choices behind them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from gprof.profile.jumps import DRAWN, TYPED, arrows
from gprof.profile.listing import Line, Listing, Measure
from gprof.profile.source_rows import SourceRow, SourceText, Sum, folded, interleaved
from symbols.disassembly import Syntax
from tui.glyphs import Glyphs
from tui.toned import Tone
from tui.widgets.column import Cell, Column, Rows, Share

#: A row of the screen.
ListingRow: TypeAlias = Line | SourceRow | Sum

#: How rows may be put together: instruction by instruction, by line of source, by function.
FOLDS = ("instructions", "lines", "functions")


@dataclass(frozen=True, slots=True)
class ListingChoice:
    """What a person chose to see.

    Attributes:
        fold: one of `FOLDS`.
        sources: lines of source between the instructions.
        arrows: jumps drawn beside them.
        measure: what percentages are of.
        raw: operands as the disassembler writes them.
        encodings: the bytes of each instruction.
        offsets: addresses count from the symbol's start.
        syntax: of x86.
    """

    fold: str = FOLDS[0]
    sources: bool = True
    arrows: bool = True
    measure: Measure = field(default_factory=Measure)
    raw: bool = False
    encodings: bool = False
    offsets: bool = False
    syntax: Syntax = "att"


def rows_of(listing: Listing, choice: ListingChoice, source: SourceText) -> Rows[ListingRow]:
    """The rows of a listing, with keys that stay when something else is chosen."""
    if choice.fold != FOLDS[0]:
        sums = folded(listing, source, by_line=choice.fold == "lines")
        return Rows.of(sums, _key)
    if not choice.sources:
        return Rows.of(listing.lines, _key)
    items = tuple(interleaved(listing, source))
    keys: list[Hashable] = []
    after: Hashable = None
    for number, item in enumerate(reversed(items)):
        if isinstance(item, Line):
            after, number_after = _key(item), number
        keys.append(after if isinstance(item, Line) else (after, number - number_after))
    keys.reverse()
    return Rows(items, tuple(keys), {key: i for i, key in enumerate(keys)})


def text_of(row: ListingRow, choice: ListingChoice, glyphs: Glyphs) -> tuple[str, Tone]:
    """What is written of a row, and in which tone."""
    if isinstance(row, SourceRow):
        return row.label, Tone.DIM
    if isinstance(row, Sum):
        return row.label, Tone.PLAIN if row.frame.line else Tone.STRONG
    text = row.raw if choice.raw else row.text
    if choice.raw and row.target_name:
        text += f"  {glyphs.arrow} {row.target_name}"
    if row.patch is not None:
        text += f"  # {row.patch.kind.value}" + (f", was: {row.was}" if row.was else "")
    if row.note:
        text += f"  {row.note}"
    return text, Tone.PLAIN if row.patch is None else Tone.WARN


def columns_of(
    listing: Listing, choice: ListingChoice, glyphs: Glyphs
) -> tuple[Column[ListingRow], ...]:
    """The columns of a listing."""
    if choice.fold != FOLDS[0]:
        return _sum_columns(listing, choice, glyphs)
    measure = choice.measure
    largest = max((line.weight for line in listing.lines), default=0)
    drawn = arrows(listing.lines, TYPED if glyphs.ascii else DRAWN) if choice.arrows else []
    beside = {line.address: arrow for line, arrow in zip(listing.lines, drawn, strict=False)}
    width = max(map(len, drawn), default=0)

    def share(row: ListingRow) -> Cell:
        # Most instructions have no samples: blank, so that the eye finds those that have.
        if not isinstance(row, Line) or not row.weight:
            return ""
        return Share(listing.percent(row, measure), row.weight / largest)

    def count(row: ListingRow) -> Cell:
        if not isinstance(row, Line) or not row.samples:
            return ""
        return f"{row.samples if measure.hits else row.weight:,}"

    def below(row: ListingRow) -> Cell:
        if not isinstance(row, Line) or not row.below:
            return ""
        return f"{listing.percent_below(row, measure):.2f}"

    def address(row: ListingRow) -> Cell:
        if not isinstance(row, Line):
            return ""
        start = listing.at.symbol.start
        text = f"+{row.address - start:x}" if choice.offsets else f"{row.address:016x}"
        return text, Tone.DIM

    def encoding(row: ListingRow) -> Cell:
        return (row.bytes.hex(), Tone.DIM) if isinstance(row, Line) else ""

    def text(row: ListingRow) -> Cell:
        written, tone = text_of(row, choice, glyphs)
        if not isinstance(row, Line) or not width:
            return written, tone
        return f"{beside.get(row.address, ''):{width}} {written}", tone

    count_title = "Samples" if measure.hits or not _weighs(listing) else "Period"
    chosen: list[Column[ListingRow]] = [
        Column("percent", "Percent", 15, share),
        Column("samples", count_title, 9, count, right=True, rank=2),
    ]
    if any(line.below for line in listing.lines):
        chosen.append(Column("below", "Below", 6, below, right=True, rank=4))
    chosen.append(Column("address", "Address", 7 if choice.offsets else 16, address, rank=3))
    if choice.encodings:
        chosen.append(Column("bytes", "Bytes", 20, encoding, rank=5))
    chosen.append(Column("text", "Instruction", 0, text))
    return tuple(chosen)


def _sum_columns(
    listing: Listing, choice: ListingChoice, glyphs: Glyphs
) -> tuple[Column[ListingRow], ...]:
    measure = choice.measure

    def own(row: ListingRow) -> Cell:
        if not isinstance(row, Sum) or not row.weight:
            return ""
        percent = listing.share(row.samples, row.weight, measure)
        return Share(percent, row.weight / max(listing.totals.weight, 1))

    def total(row: ListingRow) -> Cell:
        if not isinstance(row, Sum):
            return ""
        return f"{listing.share(row.total_samples, row.total_weight, measure):.2f}"

    def count(row: ListingRow) -> Cell:
        if not isinstance(row, Sum) or not row.samples:
            return ""
        return f"{row.samples if measure.hits else row.weight:,}"

    title = "Samples" if measure.hits or not _weighs(listing) else "Period"
    return (
        Column("percent", "Self", 15, own),
        Column("total", "Total", 6, total, right=True),
        Column("samples", title, 9, count, right=True, rank=2),
        Column("text", "Source", 0, lambda row: text_of(row, choice, glyphs)),
    )


def _weighs(listing: Listing) -> bool:
    """The samples have weights of their own, perf's periods."""
    return listing.totals.weight != listing.totals.samples


def _key(row: ListingRow) -> Hashable:
    return row.address if isinstance(row, Line) else row.frame
