"""A symbol's instructions as plain text: what `gprof annotate` prints."""

from __future__ import annotations

from collections.abc import Iterator

from gprof.profile.listing import Line, Listing
from symbols.names import printable

#: Longer encodings exist, but an eye that compares columns wants them aligned.
_BYTES_WIDTH = 2 * 10


def listing_text(listing: Listing, *, encodings: bool = False) -> Iterator[str]:
    """The lines of the text, without line ends: title, notes, instructions.

    Instructions without samples have no numbers, so that the others stand out; the hottest are
    marked with `>`.

    Args:
        listing: what to print.
        encodings: show the bytes of each instruction.
    """
    yield printable(f"{listing.title}  {listing.total:,} samples")
    for note in listing.notes:
        yield printable(f"note: {note}")
    yield ""
    hottest = listing.hottest
    most = listing.lines[hottest].samples if hottest >= 0 else 0
    yield f"  {'percent':>7} {'samples':>8}  address"
    for line in listing.lines:
        yield printable(_line(line, encodings=encodings, hot=0 < most == line.samples))


def _line(line: Line, *, encodings: bool, hot: bool) -> str:
    numbers = f"{line.percent:7.2f} {line.samples:8}" if line.samples else " " * 16
    encoded = f"{line.bytes.hex():{_BYTES_WIDTH}}  " if encodings else ""
    target = f"  -> {line.target_name}" if line.target_name else ""
    note = f"  {line.note}" if line.note else ""
    mark = ">" if hot else " "
    return f"{mark} {numbers}  {line.address:x}:  {encoded}{line.text}{target}{note}"
