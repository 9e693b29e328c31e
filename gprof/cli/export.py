"""`gprof export`."""

from __future__ import annotations

import sys
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import PATH_OR_DASH, VcpuList, given_symbols, symbol_options, task_option
from gprof.cli.report import GROUPS
from gprof.cli.source_options import kept_lines
from gprof.errors import UsageError
from gprof.export.formats import FORMATS, format_of

_HELP = """Write a recording in the format of another tool.

\b
{formats}

The ending of OUT chooses the format where -f does not; a further .gz compresses it.
""".format(
    formats="\n".join(
        f"  {name:12} {' '.join(format_.endings):37} {format_.about}"
        for name, format_ in FORMATS.items()
    )
)


@click.command("export", help=_HELP)
@click.option("-i", "--input", "path", type=PATH_OR_DASH, required=True,
              metavar="FILE", help="The recording.")  # fmt: skip
@click.option("-o", "--output", type=PATH_OR_DASH, required=True,
              metavar="OUT", help="What to write; - is stdout.")  # fmt: skip
@click.option("-f", "--format", "form", type=click.Choice(list(FORMATS)), metavar="FORMAT",
              help="One of those above.")  # fmt: skip
@symbol_options
@click.option("--group", type=click.Choice(GROUPS), default="symbol", show_default=True,
              help="What a row of csv and json stands for.")  # fmt: skip
@click.option("--no-idle", is_flag=True, help="Leave idle vcpus out.")
@click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3.")
@task_option
@click.option("--inline", is_flag=True,
              help="Inlined functions as frames of their own, with source lines where the format "
                   "has them: pprof, firefox, speedscope. Wants a vmlinux with DWARF.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    *,
    path: Path,
    output: Path,
    form: str | None,
    group: str,
    no_idle: bool,
    vcpus: tuple[int, ...] | None,
    task: tuple[str, ...],
    inline: bool,
    force: bool,
    **given: Any,
) -> int:
    """See `_HELP`."""
    if form is None:
        if str(output) == "-":
            raise UsageError("- does not say in which format to write", "Choose one with -f.")
        form = format_of(output)

    from gprof.export.exporting import export
    from gprof.inputs import load
    from gprof.profile.view import Filter, Group
    from gprof.sampling.source import Mode

    chosen = Filter(
        modes=frozenset(Mode) - {Mode.IDLE} if no_idle else None,
        vcpus=None if vcpus is None else frozenset(vcpus),
        tasks=task or None,
    )
    if inline and not FORMATS[form].inlining:
        able = ", ".join(name for name, format_ in FORMATS.items() if format_.inlining)
        raise UsageError(f"--inline is not for {form}", f"Formats that can: {able}.")
    profile = load(path, given_symbols(given)).profile
    with closing(kept_lines()) if inline else nullcontext() as lines:
        export(profile, output, form, chosen=chosen, group=Group(group), lines=lines, force=force)
    if str(output) != "-":
        click.echo(f"Wrote {output}: {form} ({FORMATS[form].about}).", err=True)
        sys.stderr.flush()
    return 0
