"""A symbol's instructions as plain text: what `gprof annotate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gprof.profile.jumps import DRAWN, TYPED, arrows
from gprof.profile.listing import Line, Listing, Measure
from gprof.profile.source_rows import SourceRow, SourceText, folded, interleaved
from symbols.names import printable

#: Longer encodings exist, but an eye that compares columns wants them aligned.
_BYTES_WIDTH = 2 * 10


def _no_source(_file: str, _line: int) -> None:
    """The text of no line is at hand."""


@dataclass(frozen=True, slots=True)
class ListingText:
    """What the text of a listing shows.

    Attributes:
        measure: what percentages are of.
        encodings: the bytes of each instruction.
        offsets: addresses count from the symbol's start.
        raw: operands as the disassembler writes them.
        period: the weight of the samples too.
        arrows: jumps drawn beside the instructions.
        sources: lines of source between the instructions.
        ascii: no character beyond ASCII is drawn.
    """

    measure: Measure = field(default_factory=Measure)
    encodings: bool = False
    offsets: bool = False
    raw: bool = False
    period: bool = False
    arrows: bool = True
    sources: bool = True
    ascii: bool = False


def listing_text(
    listing: Listing, shown: ListingText | None = None, source: SourceText = _no_source
) -> Iterator[str]:
    """The lines of the text, without line ends: title, notes, instructions.

    Instructions without samples have no numbers, so that the others stand out; the hottest are
    marked with `>`. Where samples are told by block, `|` goes on from a block's first line.

    Args:
        listing: what to print.
        shown: what of it; the default where None.
        source: the text of source files.
    """
    shown = shown or ListingText()
    yield from _head(listing)
    stacks = any(line.below for line in listing.lines)
    yield _header(shown, below=stacks)
    hottest = listing.hottest
    most = listing.lines[hottest].weight if hottest >= 0 else 0
    glyphs = TYPED if shown.ascii else DRAWN
    drawn = arrows(listing.lines, glyphs) if shown.arrows else [""] * len(listing.lines)
    beside = dict(zip((line.address for line in listing.lines), drawn, strict=True))
    margin = " " * (len(_header(shown, below=stacks)) + 2)
    hot_block = -1
    rows = interleaved(listing, source) if shown.sources else iter(listing.lines)
    for row in rows:
        if isinstance(row, SourceRow):
            yield printable(f"{margin}{row.label}".rstrip())
            continue
        if row.weight:
            hot_block = row.block
        numbers = _numbers(listing, row, shown, below=stacks)
        if listing.blocks and not row.weight and row.block == hot_block:
            numbers = f"{'|':>7}" + numbers[7:]
        mark = ">" if 0 < most == row.weight else " "
        yield printable(f"{mark} {numbers}  {_line(listing, row, shown, beside[row.address])}")


def folded_text(
    listing: Listing,
    measure: Measure | None = None,
    source: SourceText = _no_source,
    *,
    by_line: bool = True,
) -> Iterator[str]:
    """The lines of the text by function and line of source: self, total, and the line.

    Args:
        listing: with sources.
        measure: what percentages are of.
        source: the text of source files.
        by_line: list the lines of each function too.
    """
    measure = measure or Measure()
    yield from _head(listing)
    yield f"  {'self':>7} {'total':>7} {'samples':>8}  source"
    for one in folded(listing, source, by_line=by_line):
        own = listing.share(one.samples, one.weight, measure)
        total = listing.share(one.total_samples, one.total_weight, measure)
        numbers = f"  {own:7.2f} {total:7.2f} {one.samples:8}  "
        yield printable(numbers + one.label)


def _head(listing: Listing) -> Iterator[str]:
    samples = "1 sample" if listing.totals.samples == 1 else f"{listing.totals.samples:,} samples"
    yield printable(f"{listing.title}  {samples}")
    for note in listing.notes:
        yield printable(f"note: {note}")
    yield ""


def _header(shown: ListingText, *, below: bool) -> str:
    period = f" {'period':>12}" if shown.period else ""
    called = f" {'below':>7}" if below else ""
    return f"  {'percent':>7} {'samples':>8}{period}{called}  " + (
        "offset" if shown.offsets else "address"
    )


def _numbers(listing: Listing, line: Line, shown: ListingText, *, below: bool) -> str:
    here = (
        f"{listing.percent(line, shown.measure):7.2f} {line.samples:8}"
        + (f" {line.weight:12}" if shown.period else "")
        if line.samples
        else " " * (29 if shown.period else 16)
    )
    if not below:
        return here
    return here + (f" {listing.percent_below(line, shown.measure):7.2f}" if line.below else " " * 8)


def _line(listing: Listing, line: Line, shown: ListingText, arrow: str) -> str:
    at = f"+{line.address - listing.at.symbol.start:<6x}" if shown.offsets else f"{line.address:x}"
    encoded = f"{line.bytes.hex():{_BYTES_WIDTH}}  " if shown.encodings else ""
    text = line.raw if shown.raw else line.text
    target = f"  -> {line.target_name}" if shown.raw and line.target_name else ""
    note = f"  {line.note}" if line.note else ""
    return f"{at}:  {encoded}{arrow}{' ' if arrow else ''}{text}{target}{note}{_patch(line, shown)}"


def _patch(line: Line, shown: ListingText) -> str:
    if line.patch is None:
        return ""
    before = f", was: {line.was}" if line.was else ""
    if before and shown.encodings:
        before += f" ({b''.join(one.code for one in line.patch.original).hex()})"
    return f"  # {line.patch.kind.value}{before}"
