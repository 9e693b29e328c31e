"""`gprof flamegraph`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import INPUT, given_symbols, symbol_options


@click.command("flamegraph")
@click.option("-i", "--input", "path", type=INPUT, required=True, metavar="FILE",
              help="A recording of gprof or perf; - is stdin.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, allow_dash=True), required=True,
              metavar="OUT.svg", help="The picture; - writes it to stdout.")  # fmt: skip
@symbol_options
@click.option("--title", default="", help="Stands above the picture.  [default: the guest]")
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(path: Path, output: Path, title: str, no_idle: bool, force: bool, **given: Any) -> int:
    """Draw a recording as a flame graph.

    One SVG file for any web browser: click to zoom, search with Ctrl-F.
    """
    from gprof.export.files import writing
    from gprof.export.flamegraph import FlameGraph
    from gprof.inputs import load
    from gprof.profile.view import Filter
    from gprof.sampling.source import Mode

    profile = load(path, given_symbols(given)).profile
    chosen = Filter(modes=frozenset(Mode) - {Mode.IDLE} if no_idle else None)
    with writing(output, force=force) as out:
        FlameGraph(title, chosen).write(profile, out)
    if str(output) != "-":
        click.echo(f"Wrote {output}. Open it in a web browser.", err=True)
        sys.stderr.flush()
    return 0
