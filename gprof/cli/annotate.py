"""`gprof annotate`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gprof.cli.options import (
    PATH_OR_DASH,
    duration_option,
    given_symbols,
    live_choice,
    live_options,
    mount_option,
    refuse_several,
    symbol_options,
)
from gprof.cli.source_options import annotator_of, source_options, source_tree

if TYPE_CHECKING:
    from gprof.annotator import Annotator
    from gprof.choosing import Chosen
    from gprof.profile.listing import Listing
    from symbols.disassembly import Syntax
    from symbols.memory import Memory
    from symbols.source_tree import SourceTree

#: How long a live guest is sampled when nobody says.
_DEFAULT_DURATION = 10.0


#: perf's names of what percentages are of.
_MEASURES = ("local-period", "global-period", "local-hits", "global-hits")


@click.command("annotate")
@click.argument("symbol", metavar="SYMBOL|0xADDRESS")
@click.option("-i", "--input", "path", type=PATH_OR_DASH, metavar="FILE",
              help="A recording; without it a live guest is sampled.")  # fmt: skip
@live_options
@duration_option(f"{_DEFAULT_DURATION:g}")
@symbol_options
@mount_option
@source_options
@click.option("--lines/--no-lines", default=True,
              help="Look up source lines and inlined functions. On by default.")  # fmt: skip
@click.option("--fold", type=click.Choice(["line", "function"]),
              help="Add samples up by line of source, or by inlined function.")  # fmt: skip
@click.option("--percent-type", type=click.Choice(_MEASURES), default="local-period",
              show_default=True, help="Of the symbol or of all; by weight or count.")  # fmt: skip
@click.option("-M", "--syntax", type=click.Choice(["att", "intel"]), default="att",
              show_default=True, help="How x86 instructions are written.")  # fmt: skip
@click.option("--bits", type=click.Choice(["16", "32", "64"]),
              help="The kind of x86 code, where it is not the guest's own.")  # fmt: skip
@click.option("--bytes", "encodings", is_flag=True, help="Show the bytes of each instruction.")
@click.option("--offsets", is_flag=True, help="Count addresses from the symbol's start.")
@click.option("--raw", is_flag=True, help="Leave addresses in operands as they are.")
@click.option("--show-total-period", "period", is_flag=True, help="Show the weight of samples too.")
@click.option("--arrows/--no-arrows", default=True, help="Draw jumps as arrows. On by default.")
def command(symbol: str, path: Path | None, **given: Any) -> int:
    """Show the instructions of a symbol with their samples and their source.

    The instructions are those that the guest runs: read from its memory, or kept by the
    recording. Those that differ from the kernel's file are marked. Lines of source need a
    vmlinux with debugging information.
    """
    from gprof.choosing import choose_symbol

    tree = source_tree(given)
    looks = _Looks(**{name: given.pop(name) for name in _Looks.__slots__})
    refuse_several(given, path)
    options = live_choice(given)
    symbols = given_symbols(given)
    if path is not None:
        from gprof.inputs import load

        loaded = load(path, symbols)
        profile, code = loaded.profile, loaded.code
        annotator = looks.annotator(code, tree)
    else:
        from dataclasses import replace

        from gprof.cli.running import begin, run_with_progress, tell_end

        options = replace(options, duration_s=options.duration_s or _DEFAULT_DURATION)
        live, guest = begin(options, symbols.only())
        annotator = looks.annotator(guest.code, tree)
        try:
            # Before sampling: a wrong name must not cost ten seconds, and what was read once is
            # kept when the guest has been let go.
            first = choose_symbol(live.snapshot(), symbol)
            annotator.of_symbol(live.snapshot(), 0, first.at)
        except BaseException:
            guest.attached.close()
            raise
        run_with_progress(live)
        profile = live.snapshot()
        tell_end(profile, None)
        if live.failure is not None:
            raise live.failure
    chosen = choose_symbol(profile, symbol)
    annotator.expect_sources(profile, chosen.guest, chosen.at)
    try:
        listing = annotator.of_symbol(profile, chosen.guest, chosen.at, syntax=looks.syntax)
        if looks.lines:
            listing = annotator.with_sources(profile, listing)
    finally:
        annotator.close()
    _tell_homes(chosen)
    click.echo("\n".join(looks.text(listing, tree)))
    return 0


@dataclass(frozen=True, slots=True)
class _Looks:
    """The options that say how a listing looks."""

    lines: bool
    fold: str | None
    percent_type: str
    syntax: Syntax
    bits: str | None
    encodings: bool
    offsets: bool
    raw: bool
    period: bool
    arrows: bool

    def annotator(self, code: Mapping[int, Memory], tree: SourceTree) -> Annotator:
        """What makes the listing."""
        bits = int(self.bits) if self.bits else None
        return annotator_of(code, tree, lines=self.lines, bits=bits)

    def text(self, listing: Listing, tree: SourceTree) -> Iterator[str]:
        """What is printed of it."""
        from gprof.export.listing import ListingText, folded_text, listing_text
        from gprof.profile.listing import Measure

        base, _, unit = self.percent_type.partition("-")
        measure = Measure(of_all=base == "global", hits=unit == "hits")
        if self.fold is not None:
            return folded_text(listing, measure, tree.line, by_line=self.fold == "line")
        shown = ListingText(
            measure=measure,
            encodings=self.encodings,
            offsets=self.offsets,
            raw=self.raw,
            period=self.period,
            arrows=self.arrows,
            ascii=not _draws(sys.stdout.encoding),
        )
        return listing_text(listing, shown, tree.line)


def _draws(encoding: str | None) -> bool:
    """Whether a stream takes the characters of arrows."""
    try:
        "│▸".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _tell_homes(chosen: Chosen) -> None:
    """Name the other symbols of the same name."""
    if chosen.others:
        name = chosen.at.symbol.name
        click.echo(f"{len(chosen.others) + 1} symbols are called {name}. The others:", err=True)
    for other, samples in chosen.others:
        click.echo(
            f"  gprof annotate {other.symbol.start:#x}   {samples:,} samples, in "
            f"{other.image.name}",
            err=True,
        )
