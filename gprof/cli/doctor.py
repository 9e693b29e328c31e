"""`gprof doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from gprof.cli.options import (
    cost_options,
    given_symbols,
    live_choice,
    mount_option,
    symbol_options,
)


@click.command("doctor")
@cost_options
@symbol_options
@mount_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, **given: Any) -> int:
    """Say what can be sampled here, what it costs, and what is missing.

    Looks at the symbol files, connects to the guest, checks that they belong together, measures
    what one stop costs, and samples for a second.
    """
    from gprof.checkup import Verdict, examine
    from gprof.cli.finding import find

    options = find(live_choice(given))
    symbols = given_symbols(given)
    checks = examine(
        options.gdb,
        symbols.vmlinux.get(None),
        symbols.kallsyms.get(None),
        symbols.modules.get(None),
        hz=options.hz,
        max_halted=options.max_halted_percent / 100,
        monitor=options.monitor,
        max_latency_ns=options.max_latency_ns,
        named=symbols.named,
        directories=symbols.all_directories,
    )
    if as_json:
        click.echo(json.dumps({"checks": [asdict(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            click.echo(f"{check.verdict:>7}  {check.name:<9} {check.seen}")
            for line in check.remedy.splitlines():
                click.echo(f"{'':18} {line}")
    failed = [check.exit_code for check in checks if check.verdict is Verdict.FAILED]
    return failed[0] if failed else 0
