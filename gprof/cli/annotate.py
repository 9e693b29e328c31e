"""`gprof annotate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    INPUT,
    given_symbols,
    live_choice,
    live_options,
    mount_option,
    refuse_several,
    symbol_options,
)

#: How long a live guest is sampled when nobody says.
_DEFAULT_DURATION = 10.0


@click.command("annotate")
@click.argument("symbol", metavar="SYMBOL|0xADDRESS")
@click.option("-i", "--input", "path", type=INPUT, metavar="FILE",
              help="A recording; without it a live guest is sampled for 10 s.")  # fmt: skip
@live_options
@symbol_options
@mount_option
@click.option("-M", "--syntax", type=click.Choice(["att", "intel"]), default="att",
              show_default=True, help="How x86 instructions are written.")  # fmt: skip
@click.option("--bytes", "encodings", is_flag=True, help="Show the bytes of each instruction.")
def command(symbol: str, path: Path | None, syntax: Any, encodings: bool, **given: Any) -> int:
    """Show the instructions of a symbol with their samples.

    The instructions are those that the guest runs: read from its memory, or kept by the
    recording.
    """
    from gprof.choosing import choose_symbol
    from gprof.export.listing import listing_text
    from gprof.profile.listing import annotate

    refuse_several(given, path)
    options = live_choice(given)
    symbols = given_symbols(given)
    if path is not None:
        from gprof.inputs import load

        loaded = load(path, symbols)
        profile, code = loaded.profile, loaded.code
    else:
        from dataclasses import replace

        from gprof.cli.running import begin, run_with_progress, tell_end

        options = replace(options, duration_s=options.duration_s or _DEFAULT_DURATION)
        live, following = begin(options, symbols.only())
        code = {0: following.code}
        try:
            # Before sampling: a wrong name must not cost ten seconds, and what was read once is
            # kept when the guest has been let go.
            first = choose_symbol(live.snapshot(), symbol)
            annotate(live.snapshot(), first.at, code[0], following.attached.guest.architecture)
        except BaseException:
            following.attached.close()
            raise
        run_with_progress(live)
        profile = live.snapshot()
        tell_end(profile, None)
        if live.failure is not None:
            raise live.failure
    chosen = choose_symbol(profile, symbol)
    guest = profile.guests[chosen.guest]
    listing = annotate(
        profile,
        chosen.at,
        code[chosen.guest],
        guest.architecture,
        guest=chosen.guest,
        syntax=syntax,
    )
    for other in chosen.others:
        click.echo(
            f"There is another {other.symbol.name} in {other.image.name}, with fewer samples: "
            f"gprof annotate {other.symbol.start:#x}",
            err=True,
        )
    for line in listing_text(listing, encodings=encodings):
        click.echo(line)
    return 0
