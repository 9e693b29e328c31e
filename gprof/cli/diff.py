"""`gprof diff`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gprof.cli.options import PATH, VcpuList, task_option


@click.command("diff")
@click.argument("before", type=PATH, metavar="BEFORE")
@click.argument("after", type=PATH, metavar="AFTER")
@click.option("-o", "--output", type=PATH, metavar="OUT.svg",
              help="Draw a flame graph instead; - is stdout.")  # fmt: skip
@click.option("--total", is_flag=True, help="Compare what is on the stacks, not their leaves.")
@click.option("--all", "all_rows", is_flag=True,
              help="Show changes within the noise of sampling too.")  # fmt: skip
@click.option("--confidence", type=click.FloatRange(50, 99.9999), default=99.0, show_default=True,
              metavar="PERCENT", help="How sure a change must be.")  # fmt: skip
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3.")
@task_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N rows of text.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--icicle", is_flag=True, help="Draw the root above.")
@click.option("--title", default="", help="Stands above the picture.  [default: the guests]")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    *,
    before: Path,
    after: Path,
    output: Path | None,
    total: bool,
    all_rows: bool,
    confidence: float,
    no_idle: bool,
    vcpus: tuple[int, ...] | None,
    task: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    icicle: bool,
    title: str,
    force: bool,
) -> int:
    """Compare two recordings, function by function.

    By shares, so that they need not be equally long. Samples scatter: a change that may be
    nothing else is marked with ~ and not shown unless asked for.
    """
    from gprof.errors import UsageError
    from gprof.export.difference_graph import DifferenceGraph
    from gprof.export.difference_table import DifferenceJson, DifferenceText
    from gprof.export.files import writing
    from gprof.given_symbols import GivenSymbols
    from gprof.inputs import load
    from gprof.profile.difference import difference, difference_tree
    from gprof.profile.view import Filter
    from gprof.sampling.source import Mode

    if output is not None and as_json:
        raise UsageError("-o draws a picture, --json prints a table", "Choose one of them.")
    if output is not None and str(output) != "-" and output.suffix.lower() != ".svg":
        raise UsageError(f"{output} is no name of a picture", "Give a name that ends in .svg.")
    chosen = Filter(
        modes=frozenset(Mode) - {Mode.IDLE} if no_idle else None,
        vcpus=None if vcpus is None else frozenset(vcpus),
        tasks=task or None,
    )
    first, second = (load(path, GivenSymbols()).profile for path in (before, after))
    if output is not None:
        tree = difference_tree(first, second, chosen, confidence / 100)
        with writing(output, force=force) as out:
            DifferenceGraph(title, icicle).write(tree, first, second, out)
        if str(output) != "-":
            click.echo(f"Wrote {output}. Open it in a web browser.", err=True)
        return 0
    found = difference(first, second, chosen, confidence / 100)
    if as_json:
        DifferenceJson().write(found, sys.stdout.buffer)
    else:
        DifferenceText(total, all_rows, limit).write(found, first, second, sys.stdout.buffer)
    return 0
