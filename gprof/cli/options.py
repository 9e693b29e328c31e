"""Options that several commands share, spelled alike everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gprof.errors import UsageError

if TYPE_CHECKING:
    from gprof.attach import Sources

_Command = TypeVar("_Command", bound=Callable[..., Any])

DEFAULT_GDB = "localhost:1234"


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """How to sample a live guest.

    Attributes:
        gdb: address of the stub.
        hz: samples a second and vcpu.
        duration_s: None for until the user ends it.
        vcpus: indices; None for all.
        max_halted_percent: the most that the guest may be kept from running.
    """

    gdb: str
    hz: float
    duration_s: float | None
    vcpus: tuple[int, ...] | None
    max_halted_percent: float


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
            if end > 4095:
                self.fail(f"there is no vcpu {end}", param, ctx)
            indices += range(int(first), end + 1)
        return tuple(sorted(set(indices)))


_PATH = click.Path(path_type=Path)
POSITIVE = click.FloatRange(min=0, min_open=True)


def symbol_options(command: _Command) -> _Command:
    """`--guestvmlinux`, `--guestkallsyms`, `--guestmodules`, as perf names them."""
    for option in reversed((
        click.option("--guestvmlinux", type=_PATH, metavar="FILE",
                     help="The guest kernel's vmlinux, with symbols."),
        click.option("--guestkallsyms", type=_PATH, metavar="FILE",
                     help="A copy of the guest's /proc/kallsyms, of this boot."),
        click.option("--guestmodules", type=_PATH, metavar="FILE",
                     help="A copy of the guest's /proc/modules."),
    )):  # fmt: skip
        command = option(command)
    return command


def live_options(command: _Command) -> _Command:
    """Which guest to sample and how."""
    for option in reversed((
        click.option("--gdb", metavar="ADDR", default=None,
                     help="The guest's gdbstub, host:port or the path of a unix socket.  "
                          f"[default: {DEFAULT_GDB}]"),
        click.option("-F", "--frequency", "hz", type=click.FloatRange(0.01, 10000), default=99.0,
                     show_default=True, metavar="HZ", help="Samples a second of each vcpu."),
        click.option("-d", "--duration", type=POSITIVE, metavar="SECONDS",
                     help="End after this long.  [default: until Ctrl-C]"),
        click.option("-C", "--vcpus", type=VcpuList(), help="Only these vcpus, such as 0,2-3."),
        click.option("--max-halted", type=click.FloatRange(0, 100, min_open=True), default=1.0,
                     show_default=True, metavar="PERCENT",
                     help="Keep the guest from running at most so much; lowers the rate."),
    )):  # fmt: skip
        command = option(command)
    return command


def open_sources(given: dict[str, Any]) -> Sources:
    """Open the files that the symbol options among a command's parameters name; takes them out.

    Raises:
        SymbolsError: a file is not what it should be.
    """
    from gprof.attach import Sources

    return Sources.open(
        given.pop("guestvmlinux"), given.pop("guestkallsyms"), given.pop("guestmodules")
    )


def live_choice(given: dict[str, Any]) -> LiveOptions:
    """The live options among a command's parameters, taken out of them."""
    return LiveOptions(
        gdb=given.pop("gdb") or DEFAULT_GDB,
        hz=given.pop("hz"),
        duration_s=given.pop("duration"),
        vcpus=given.pop("vcpus"),
        max_halted_percent=given.pop("max_halted"),
    )


def refuse_both(gdb: str | None, path: Path | None) -> None:
    """A recording and a live guest exclude each other.

    Raises:
        UsageError: both are given.
    """
    if gdb is not None and path is not None:
        raise UsageError(
            "--gdb and -i are both given", "-i reads a file, --gdb samples a guest: choose one."
        )
