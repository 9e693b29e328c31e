"""The source of a listing: lines between the instructions, and sums by line and function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gprof.profile.listing import Line, Listing
from symbols.source_frames import Chain, SourceFrame

#: The text of one line of a file, or None where it is not at hand.
SourceText = Callable[[str, int], str | None]

#: Lines of source shown before one that has instructions, where they follow the last one shown.
_CONTEXT = 6


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A line of source before the instructions that were made of it.

    Attributes:
        frame: the line.
        text: of the file; None where it is not at hand.
        callers: the functions that it was inlined into, innermost first.
        leads: instructions of this line follow; else it is shown for its text.
    """

    frame: SourceFrame
    text: str | None
    callers: Chain = ()
    leads: bool = True

    @property
    def origin(self) -> str:
        """Function and line, and where they were inlined, as `square c.h:3 < hot c.c:8`."""
        return " < ".join(
            f"{frame.function} {frame}".lstrip() for frame in (self.frame, *self.callers)
        )

    @property
    def label(self) -> str:
        """The line as it is shown: its number and text, else where it comes from."""
        if not self.leads:
            return f"{self.frame.line:5} {self.text}"
        if self.text is None:
            return self.origin
        text = f"{self.frame.line:5} {self.text}"
        return f"{text}    [{self.origin}]" if self.callers else text


def interleaved(listing: Listing, text_of: SourceText) -> Iterator[SourceRow | Line]:
    """The instructions, with a row before each whose source is another than the last one's."""
    chain: Chain = ()
    for line in listing.lines:
        if line.chain and line.chain != chain:
            yield from _leading(chain, line.chain, text_of)
            chain = line.chain
        yield line


def _leading(before: Chain, chain: Chain, text_of: SourceText) -> Iterator[SourceRow]:
    frame, callers = chain[0], chain[1:]
    last = before[0] if before else None
    if (
        last is not None
        and before[1:] == callers
        and (last.function, last.file) == (frame.function, frame.file)
        and 0 < frame.line - last.line <= _CONTEXT
    ):
        for number in range(last.line + 1, frame.line):
            text = text_of(frame.file, number)
            if text:
                between = SourceFrame(frame.function, frame.file, number)
                yield SourceRow(between, text, callers, leads=False)
    yield SourceRow(frame, text_of(frame.file, frame.line), callers)


@dataclass(frozen=True, slots=True)
class Sum:
    """The samples of a line of source, or of a function.

    Attributes:
        frame: the line; its number is 0 for a function as a whole.
        text: of the line; None where it is not at hand, or for a function.
        inlined: the function is not the symbol's own.
        samples: how many are in instructions of this line itself.
        weight: theirs.
        total_samples: how many are in these and in what was inlined here.
        total_weight: theirs.
        first: address of its first instruction.
    """

    frame: SourceFrame
    text: str | None
    inlined: bool
    samples: int
    weight: int
    total_samples: int
    total_weight: int
    first: int

    @property
    def label(self) -> str:
        """The function as a whole, or the line with its text, as it is shown."""
        if not self.frame.line:
            inlined = " (inlined)" if self.inlined else ""
            return f"{self.frame.function or '?'}{inlined}  {self.frame.file}"
        return (
            f"  {self.frame.line:5} {self.text}" if self.text is not None else f"    {self.frame}"
        )


def folded(listing: Listing, text_of: SourceText, *, by_line: bool = True) -> tuple[Sum, ...]:
    """The symbol's own function and those inlined into it, the heaviest first, and their lines.

    Each function is followed by its lines in the order of its source. What has no samples is left
    out, unless nothing has any: then all functions are there. Where samples are told by block,
    those of a block count for the line of its first instruction.

    Args:
        listing: with sources.
        text_of: gives the text of lines.
        by_line: list the lines too.
    """
    functions: dict[tuple[str, str], _Counter] = {}
    lines: dict[tuple[str, str], dict[int, _Counter]] = {}
    own: set[tuple[str, str]] = set()
    for line in listing.lines:
        if not line.chain:
            continue
        own.add((line.chain[-1].function, line.chain[-1].file))
        # A function inlined into itself is one at each address.
        for depth, frame in reversed(list(enumerate(line.chain))):
            key = (frame.function, frame.file)
            functions.setdefault(key, _Counter(line.address)).add(line, innermost=depth == 0)
            numbers = lines.setdefault(key, {})
            numbers.setdefault(frame.line, _Counter(line.address)).add(line, innermost=depth == 0)
    found: list[Sum] = []
    sampled = any(line.samples for line in listing.lines)
    for key in sorted(functions, key=lambda key: (key not in own, -functions[key].total_weight)):
        function, file = key
        if sampled and not functions[key].total_samples:
            continue
        inlined = key not in own
        found.append(functions[key].sum(SourceFrame(function, file, 0), None, inlined=inlined))
        for number in sorted(lines[key]) if by_line else ():
            counter = lines[key][number]
            if counter.total_samples:
                text = text_of(file, number)
                found.append(
                    counter.sum(SourceFrame(function, file, number), text, inlined=inlined)
                )
    return tuple(found)


class _Counter:
    """Adds up samples; those of an instruction once."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.samples = self.weight = self.total_samples = self.total_weight = 0
        self._last = -1

    def add(self, line: Line, *, innermost: bool) -> None:
        if innermost:
            self.samples += line.samples
            self.weight += line.weight
        if line.address != self._last:
            self._last = line.address
            self.total_samples += line.samples
            self.total_weight += line.weight

    def sum(self, frame: SourceFrame, text: str | None, *, inlined: bool) -> Sum:
        return Sum(
            frame, text, inlined, self.samples, self.weight, self.total_samples,
            self.total_weight, self.first,
        )  # fmt: skip
