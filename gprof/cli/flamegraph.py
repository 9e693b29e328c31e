"""`gprof flamegraph`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import PATH_OR_DASH, given_symbols, symbol_options, task_option


@click.command("flamegraph")
@click.option("-i", "--input", "path", type=PATH_OR_DASH, required=True, metavar="FILE",
              help="A recording of gprof or perf; - is stdin.")  # fmt: skip
@click.option("-o", "--output", type=PATH_OR_DASH, required=True,
              metavar="OUT.svg|OUT.html",
              help="The picture; - writes an SVG to stdout.")  # fmt: skip
@symbol_options
@click.option("--title", default="", help="Stands above the picture.  [default: the guest]")
@click.option("--icicle", is_flag=True, help="Draw the root above.")
@click.option("--inverted", is_flag=True, help="Begin with what runs; its callers stand on it.")
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@task_option
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    *,
    path: Path,
    output: Path,
    title: str,
    icicle: bool,
    inverted: bool,
    no_idle: bool,
    task: tuple[str, ...],
    force: bool,
    **given: Any,
) -> int:
    """Draw a recording as a flame graph.

    An .svg is one picture for any web browser: click to zoom, search with /. An .html is a page
    to explore: it also filters by vcpu, mode and time, turns round, and lists the functions.
    Neither needs a network.
    """
    from gprof.export.files import writing
    from gprof.export.formats import FORMATS, format_of
    from gprof.inputs import load
    from gprof.profile.view import Filter
    from gprof.sampling.source import Mode

    form = "svg" if str(output) == "-" else format_of(output, {"svg", "html"})
    profile = load(path, given_symbols(given)).profile
    chosen = Filter(modes=frozenset(Mode) - {Mode.IDLE} if no_idle else None, tasks=task or None)
    exporter = FORMATS[form].make(title=title, chosen=chosen, icicle=icicle, inverted=inverted)
    with writing(output, force=force) as out:
        exporter.write(profile, out)
    if str(output) != "-":
        click.echo(f"Wrote {output}. Open it in a web browser.", err=True)
        sys.stderr.flush()
    return 0
