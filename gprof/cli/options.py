"""Options that several commands share, spelled alike everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gprof.errors import UsageError

if TYPE_CHECKING:
    from gprof.cli.perf_options import PerfOptions
    from gprof.given_symbols import GivenSymbols
    from gprof.guest.address import Address
    from gprof.guest.libvirt import Domain

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_GDB = "localhost:1234"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to sample a live guest.

    Attributes:
        gdb: address of the stub; None to do without it.
        hz: samples a second and vcpu.
        duration_s: None for until the user ends it.
        vcpus: indices; None for all.
        max_halted_percent: the most that the guest may be kept from running.
        qmp: address of the monitor; None to do without it. Where both are None, nobody has said
            which guest is meant (`gprof.cli.finding`).
        call_graph: how to unwind call stacks: auto, orc, fp or none.
        domain: of libvirt, whose monitor takes the place of `qmp`.
        weight: what a sample weighs: wall or running.
        max_halt_latency_ms: the longest that one stop in a hundred may take; None for any.
    """

    gdb: str | None
    hz: float
    duration_s: float | None
    vcpus: tuple[int, ...] | None
    max_halted_percent: float
    qmp: str | None = None
    call_graph: str = "none"
    domain: str | None = None
    weight: str = "wall"
    max_halt_latency_ms: float | None = None

    @property
    def max_latency_ns(self) -> int | None:
        """The longest that one stop in a hundred may take, in nanoseconds."""
        return None if self.max_halt_latency_ms is None else round(self.max_halt_latency_ms * 1e6)

    @property
    def monitor(self) -> Address | Domain | None:
        """Where the monitor is; None to do without it.

        Raises:
            UsageError: that is no address, or no name of a domain.
        """
        return monitor_of(self.qmp, self.domain)


class VcpuList(click.ParamType[tuple[int, ...]]):
    """`0,2-3`: indices of vcpus."""

    name = "VCPUS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Read the list."""
        if isinstance(value, tuple):
            return value
        indices: list[int] = []
        for part in str(value).split(","):
            first, dash, last = part.partition("-")
            if not first.isdecimal() or (dash and not last.isdecimal()):
                self.fail(f"{value!r} is no list of vcpus such as 0,2-3", param, ctx)
            end = int(last) if dash else int(first)
            if end < int(first):
                self.fail(f"{part!r} counts down: write {last}-{first}", param, ctx)
            if end > 4095:
                self.fail(f"there is no vcpu {end}", param, ctx)
            indices += range(int(first), end + 1)
        return tuple(sorted(set(indices)))


#: Whoever opens a path says what is wrong with it: click takes a file that may not be read for
#: wrong use, and asks it of files to write too.
PATH = click.Path(path_type=Path, readable=False)
#: A file, or `-` for what is piped.
PATH_OR_DASH = click.Path(path_type=Path, readable=False, allow_dash=True)
CALL_GRAPHS = ("auto", "orc", "fp", "none")
WEIGHTS = ("wall", "running")
POSITIVE = click.FloatRange(min=0, min_open=True)


def symbol_options(command: _Command) -> _Command:
    """`--guestvmlinux`, `--guestkallsyms`, `--guestmodules`, `--symfs`, as perf names them."""
    for option in reversed((
        click.option("--guestvmlinux", multiple=True, metavar="[PID=]FILE",
                     help="The guest kernel's vmlinux, with symbols."),
        click.option("--guestkallsyms", multiple=True, metavar="[PID=]FILE",
                     help="A copy of the guest's /proc/kallsyms, of this boot."),
        click.option("--guestmodules", multiple=True, metavar="[PID=]FILE",
                     help="A copy of the guest's /proc/modules."),
        click.option("--symbols", "named", multiple=True, metavar="FILE[@[+]ADDR]",
                     help="Firmware, a boot loader, a unikernel: an ELF file, where it was linked "
                          "or its text at ADDR or all of it moved by +ADDR; a binary at ADDR; the "
                          "debug log of EDK2, and the folder of its build."),
        click.option("--symfs", multiple=True, type=PATH, metavar="DIR",
                     help="Where files of modules are: a root with lib/modules or "
                          "usr/lib/debug, or a directory of .ko files."),
    )):  # fmt: skip
        command = option(command)
    return command


def mount_option(command: _Command) -> _Command:
    """`--guestmount`: the guest's files, or those of several guests."""
    return click.option(
        "--guestmount", type=PATH, metavar="DIR",
        help="The root of the guest's files; with perf, a directory with <pid>/proc/kallsyms and "
             "modules of each guest.",
    )(command)  # fmt: skip


def guest_options(command: _Command) -> _Command:
    """`--gdb`, `--qmp` and `--domain`: where a live guest is reached."""
    for option in reversed((
        click.option("--gdb", metavar="ADDR", default=None,
                     help="The guest's gdbstub, host:port or the path of a unix socket.  "
                          f"[default: {DEFAULT_GDB}, or the only guest here]"),
        click.option("--qmp", metavar="ADDR", default=None,
                     help="The guest's QMP monitor: leaves the guest running, or with --gdb, "
                          "watches over it."),
        click.option("--domain", metavar="NAME", default=None,
                     help="The same for a guest of libvirt, which then marks it as tainted."),
    )):  # fmt: skip
        command = option(command)
    return command


def cost_options(command: _Command) -> _Command:
    """Which guest to sample, how often, and what that may cost it."""
    for option in reversed((
        guest_options,
        click.option("-F", "--frequency", "hz", type=click.FloatRange(0.01, 10000), default=99.0,
                     show_default=True, metavar="HZ", help="Samples a second of each vcpu."),
        click.option("--max-halted", type=click.FloatRange(0, 100, min_open=True), default=1.0,
                     show_default=True, metavar="PERCENT",
                     help="Keep the guest from running at most so much; lowers the rate."),
        click.option("--max-halt-latency", type=POSITIVE, metavar="MS",
                     help="With stub and monitor: where one stop in a hundred takes longer, go on "
                          "by the monitor alone."),
    )):  # fmt: skip
        command = option(command)
    return command


def live_options(command: _Command) -> _Command:
    """Which guest to sample and how."""
    for option in reversed((
        cost_options,
        click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3."),
        click.option("--weight", type=click.Choice(WEIGHTS), default="wall", show_default=True,
                     help="Count moments of the clock, or of running: then samples of a vcpu that "
                          "waits for the host's processors count for less."),
    )):  # fmt: skip
        command = option(command)
    return command


def duration_option(otherwise: str) -> Callable[[_Command], _Command]:
    """`--duration`, with what holds where it is not given."""
    return click.option(
        "-d", "--duration", type=POSITIVE, metavar="SECONDS",
        help=f"End after this long.  [default: {otherwise}]",
    )  # fmt: skip


def monitor_of(qmp: str | None, domain: str | None) -> Address | Domain | None:
    """Where the monitor is that two options name, of which one at most is given.

    Raises:
        UsageError: both are, or what is given is no address, or no name of a domain.
    """
    from gprof.guest.address import Address
    from gprof.guest.libvirt import Domain

    if qmp and domain:
        raise UsageError(
            "--qmp and --domain are given together",
            "Each names a monitor: leave one of the two out.",
        )
    if domain is not None:
        return Domain(domain)
    return Address.parse(qmp) if qmp else None


def call_graph_option(command: _Command) -> _Command:
    """`--call-graph`, with the stub as the source."""
    return click.option(
        "--call-graph", type=click.Choice(CALL_GRAPHS), default="auto", show_default=True,
        help="Take call stacks: by the kernel's ORC tables, by frame pointers, or none; auto takes "
             "what the kernel has. Without the stub, orc and fp take those that hold (x86_64).",
    )(command)  # fmt: skip


def task_option(command: _Command) -> _Command:
    """`--task`, of a profile that knows the tasks of its guests."""
    return click.option(
        "--task", multiple=True, metavar="NAME|PID",
        help="Only what these tasks ran: a name with * and ?, or the number of a process or "
             "thread. May be given several times.",
    )(command)  # fmt: skip


def given_symbols(given: dict[str, Any]) -> GivenSymbols:
    """The symbol options among a command's parameters, taken out of them.

    Raises:
        UsageError: they contradict each other.
    """
    from gprof.given_symbols import GivenSymbols

    return GivenSymbols.of(
        given.pop("guestvmlinux"),
        given.pop("guestkallsyms"),
        given.pop("guestmodules"),
        given.pop("guestmount", None),
        directories=given.pop("symfs"),
        named=given.pop("named"),
    )


def live_choice(given: dict[str, Any]) -> LiveOptions:
    """The live options among a command's parameters, as many as it has, taken out of them."""
    return LiveOptions(
        gdb=given.pop("gdb"),
        qmp=given.pop("qmp"),
        domain=given.pop("domain"),
        weight=given.pop("weight", "wall"),
        max_halt_latency_ms=given.pop("max_halt_latency"),
        hz=given.pop("hz"),
        duration_s=given.pop("duration", None),
        vcpus=given.pop("vcpus", None),
        max_halted_percent=given.pop("max_halted"),
        call_graph=given.pop("call_graph", "none"),
    )


def refuse_unheeded(perf: PerfOptions, live: LiveOptions, path: Path | None, *, runs: bool) -> None:
    """Refuse options that have no meaning for what is looked at.

    Args:
        perf: of `perf_choice`.
        live: of `live_choice`.
        path: of a recording.
        runs: perf is to be started.

    Raises:
        UsageError: an option would be ignored.
    """
    if perf.pid is not None and not runs:
        raise UsageError("--pid is given without --perf", "It names the QEMU that perf samples.")
    if live.vcpus is not None and (runs or path is not None):
        raise UsageError(
            "--vcpus chooses what is sampled through a gdbstub or a monitor",
            "Of what perf or a recording has, show some: gprof report -C, or ] on the screen.",
        )
    if (live.weight != "wall" or live.max_latency_ns is not None) and (runs or path is not None):
        raise UsageError(
            "--weight and --max-halt-latency are about sampling through a gdbstub or a monitor",
            "Neither perf nor a recording heeds them: leave them out.",
        )
    if path is None and not runs and (perf.event or perf.exits or perf.host):
        raise UsageError(
            "--event, --exits and --host are for samples of perf",
            "Give --perf, or a recording of perf with -i.",
        )


def refuse_several(given: dict[str, Any], path: Path | None, *, perf: bool = False) -> None:
    """A recording, a guest and perf exclude each other.

    Args:
        given: the parameters of `live_options`.
        path: the recording.
        perf: `--perf` was given.

    Raises:
        UsageError: more than one is given.
    """
    ways = {
        "--gdb": given["gdb"] is not None,
        "--qmp": given["qmp"] is not None,
        "--domain": given["domain"] is not None,
        "-i": path is not None,
        "--perf": perf,
    }
    chosen = [option for option, is_given in ways.items() if is_given]
    if len(chosen) > 1 and chosen not in (["--gdb", "--qmp"], ["--gdb", "--domain"]):
        raise UsageError(
            f"{' and '.join(chosen)} are given together",
            "-i reads a file, --gdb samples a guest by its stub, --qmp and --domain by its "
            "monitor, --perf samples guests by perf: choose one (only --gdb goes together with "
            "--qmp or --domain).",
        )
