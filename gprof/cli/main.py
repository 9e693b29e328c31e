"""The entry point: maps commands to modules, and exceptions to sentences and exit codes."""

from __future__ import annotations

import errno
import gc
import importlib
import os
import sys
from pathlib import Path

import click

from gprof import __version__
from symbols.errors import GprofError

# numpy's linear algebra, which nothing here uses, would start a thread for each processor when it
# is imported: longer than the rest of the import takes.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

#: Every command and what it is for. A command's module is imported when it runs, so that
#: `gprof --help` answers at once.
COMMANDS = {
    "top": "Show live where a guest spends its time.",
    "record": "Sample a guest into a file.",
    "report": "Print what a recording says.",
    "annotate": "Show the instructions of a symbol with their samples.",
    "flamegraph": "Draw a recording as a flame graph.",
    "diff": "Compare two recordings.",
    "export": "Write a recording in the format of another tool.",
    "dump": "Print every vcpu's stack and registers, once.",
    "stat": "Count VM exits, and which functions of the guest cause them.",
    "symbols": "Write the guest's /proc/kallsyms, read from its memory.",
    "list": "List the guests of this host and how to reach them.",
    "doctor": "Say what can be sampled here, what it costs, and what is missing.",
    "demo": "Run the bundled guest and look at it.",
}


#: What the system says of a stdout that takes no more: its disk is full, or broken.
_CANNOT_TAKE_MORE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


#: More than any command has when everything that it needs is imported.
_MANY_OBJECTS = 200_000


class Commands(click.Group):
    """A group that knows its commands by name and loads them when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """The commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"gprof.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_HELP = """Profile virtual machines from outside, with the guest's symbols.

Stops a guest's vcpus for some dozen microseconds at a time through QEMU's gdbstub, or asks QEMU's
monitor without stopping them, and shows where its kernel spends its time. Nothing is installed in
the guest.

\b
  gprof demo                                  see it work
  gprof top --guestvmlinux vmlinux            look at a QEMU started with -s
  gprof record -d 30 -o slow.gprof            then: gprof report -i slow.gprof

Exit codes: 0 done, 1 failed, 2 wrong use, 3 not permitted, 4 guest unreachable or gone,
5 symbols unusable, 6 file damaged or of the wrong kind.
"""


@click.command(cls=Commands, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gprof")
def cli() -> None:
    """Everything begins here; see `_HELP`."""


def main() -> int:
    """Run the command line and return the exit code."""
    _look_for_garbage_later()
    _open_what_is_closed()
    try:
        result = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except GprofError as error:
        say(error)
        return error.exit_code
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return 130
    except (BrokenPipeError, SystemExit):  # click turns the first into the second
        # Whoever read our output has enough.
        _write_no_more()
        return 0
    except OSError as error:
        if error.filename is not None or error.errno not in _CANNOT_TAKE_MORE:
            raise
        _write_no_more()
        say(
            GprofError(
                f"what was to be printed cannot be written: {error.strerror}",
                "Free some space, or send it to another place.",
            )
        )
        return 1
    return result if isinstance(result, int) else 0


def _look_for_garbage_later() -> None:
    """Let Python look for cyclic garbage only where a command makes many objects.

    What is imported is none, and looking for some in it took a twelfth of the time to the first
    screen. It is left out for good: a look halts every thread, the sampler's too.
    """
    usual = gc.get_threshold()
    if usual[0] == _MANY_OBJECTS:  # several commands in one process, as tests run them
        return

    def begin(_phase: str, _info: object) -> None:
        gc.callbacks.remove(begin)
        gc.freeze()
        gc.set_threshold(*usual)

    gc.callbacks.append(begin)
    gc.set_threshold(_MANY_OBJECTS)


def _open_what_is_closed() -> None:
    """Put the null device where who started us has closed stdin, stdout or stderr."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - it stays


def _write_no_more() -> None:
    """Let what Python still holds for stdout go nowhere: at its end it would complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(error: GprofError) -> None:
    """Tell what failed and what to do about it, on stderr."""
    click.echo(f"gprof: {error.problem}", err=True)
    if error.remedy:
        click.echo(error.remedy, err=True)
