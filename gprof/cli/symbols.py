"""`gprof symbols`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from gprof.cli.options import (
    PATH_OR_DASH,
    given_symbols,
    guest_options,
    monitor_of,
    mount_option,
    symbol_options,
)


@click.command("symbols")
@guest_options
@symbol_options
@mount_option
@click.option("-o", "--output", type=PATH_OR_DASH, required=True,
              metavar="FILE", help="The text; - writes it to stdout.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(
    gdb: str | None,
    qmp: str | None,
    domain: str | None,
    output: Path,
    force: bool,
    **given: Any,
) -> int:
    """Write the guest's /proc/kallsyms, read from its memory.

    For other tools that want a copy of it, and for --guestkallsyms: no login, no root, no
    setting of the guest stands in the way. No file is needed; a vmlinux makes the search exact.
    """
    from gprof.attach import attach
    from gprof.cli.finding import reach
    from gprof.cli.waiting import telling_if_slow
    from gprof.export.files import writing
    from gprof.guest.address import Address
    from symbols.introspection import LoadedModules, all_symbols
    from symbols.kallsyms_text import write_kallsyms

    sources = given_symbols(given).only()
    if domain is None:
        gdb, qmp = reach(gdb, qmp)
    stub, monitor = Address.parse(gdb) if gdb else None, monitor_of(qmp, domain)
    # Created before the guest is touched: a wrong file must cost it nothing.
    with writing(output, force=force) as out:
        with telling_if_slow("Reading the symbols of the guest from its memory..."):
            attached = attach(stub, sources, monitor=monitor)
            try:
                found = attached.introspected
                if found.kernel is None:
                    found = attached.introspect(symbols=True, modules=True)
            finally:
                attached.close()
        if found.kernel is None:
            raise found.problems[0]
        for problem in found.problems:
            click.echo(f"Without the symbols of modules: {problem.problem}", err=True)
        modules = found.modules or LoadedModules()
        lines = all_symbols(found.kernel, modules)
        out.write(write_kallsyms(lines))
    if str(output) != "-":
        click.echo(
            f"Wrote {output}: {len(found.kernel)} symbols of the kernel, "
            f"{len(lines) - len(found.kernel)} of {len(modules.listed)} modules.",
            err=True,
        )
        sys.stderr.flush()
    return 0
