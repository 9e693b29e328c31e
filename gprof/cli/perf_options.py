"""Options that say what to take of perf, live or from its recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gprof.errors import UsageError

if TYPE_CHECKING:
    from gprof.sampling.perf_live import PerfLive

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class PerfOptions:
    """What to take of perf.

    Attributes:
        event: its name; empty for what is usual.
        pid: of the one hypervisor to sample.
        host: take the host's own samples too.
        exits: take the guest's address at every VM exit instead of samples.
    """

    event: str
    pid: int | None
    host: bool
    exits: bool


def perf_option(command: _Command) -> _Command:
    """`--perf` and what goes with it, or with a recording of perf."""
    for option in reversed((
        click.option("--perf", is_flag=True,
                     help="Let perf sample the guests of this host, without stopping them."),
        click.option("-e", "--event", default="", metavar="EVENT",
                     help="With --perf, what to sample by.  [default: cpu-clock]"),
        click.option("-p", "--pid", type=click.IntRange(min=1), metavar="PID",
                     help="With --perf, the guest of this QEMU only."),
        host_option,
        exits_option,
    )):  # fmt: skip
        command = option(command)
    return command


def host_option(command: _Command) -> _Command:
    """`--host`, for the samples that perf took of the host itself."""
    return click.option(
        "--host", is_flag=True, help="From perf, show samples of the host itself too."
    )(command)


def exits_option(command: _Command) -> _Command:
    """`--exits`, for hosts on which perf cannot sample guests."""
    return click.option(
        "--exits", is_flag=True,
        help="From perf, take the guest's address at every VM exit instead of samples: it shows "
             "what leaves the guest, not where time goes.",
    )(command)  # fmt: skip


def perf_choice(given: dict[str, Any]) -> PerfOptions:
    """What `perf_option` gave, taken out of a command's parameters.

    Raises:
        UsageError: an option is given that nothing would heed.
    """
    options = PerfOptions(
        event=given.pop("event"),
        pid=given.pop("pid"),
        host=given.pop("host"),
        exits=given.pop("exits"),
    )
    if options.exits and options.event:
        raise UsageError(
            "--exits and --event are given together",
            "At VM exits no event is sampled: leave one of the two out.",
        )
    return options


def open_perf(perf: PerfOptions, hz: float) -> PerfLive:
    """Start the perf that is asked for.

    Raises:
        TargetError, PermissionProblem: perf cannot record here.
    """
    import platform

    from gprof.sampling.perf_live import PerfLive, exit_command, sample_command

    command = (
        exit_command(platform.machine(), pid=perf.pid)
        if perf.exits
        else sample_command(
            perf.event or "cpu-clock", max(round(hz), 1), pid=perf.pid, host=perf.host
        )
    )
    return PerfLive(command, host=perf.host, exits=perf.exits)
