"""What the options of perf make of a command line, and which perf that starts."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from gprof.cli.perf_options import PerfOptions, open_perf, perf_choice, perf_option
from gprof.errors import UsageError
from gprof.sampling import perf_live


def chosen(*words: str) -> PerfOptions:
    """What a command with these options is given; `--perf` itself is left for the command."""

    @click.command
    @perf_option
    def command(**given: Any) -> PerfOptions:
        options = perf_choice(given)
        assert list(given) == ["perf"]
        return options

    found = CliRunner().invoke(command, words, standalone_mode=False)
    if found.exception is not None:
        raise found.exception
    options = found.return_value
    assert isinstance(options, PerfOptions)
    return options


def test_options_become_a_choice() -> None:
    assert chosen() == PerfOptions("", None, host=False, exits=False)
    assert chosen("--perf", "-e", "cycles", "-p", "7", "--host") == PerfOptions(
        "cycles", 7, host=True, exits=False
    )
    with pytest.raises(UsageError, match="--exits and --event"):
        chosen("--perf", "--exits", "-e", "cycles")
    with pytest.raises(click.BadParameter):
        chosen("--perf", "-p", "0")


@pytest.mark.parametrize(
    ("perf", "hz", "words"),
    [
        (PerfOptions("", None, host=False, exits=False), 0.2, ["--guest", "cpu-clock", "1", "-a"]),
        (PerfOptions("cycles", 7, host=True, exits=False), 99, ["--host", "cycles", "99", "7"]),
        (PerfOptions("", 7, host=False, exits=True), 99, ["-R", "kvm:kvm_exit", "7"]),
    ],
)
def test_the_perf_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, perf: PerfOptions, hz: float, words: list[str]
) -> None:
    started: list[tuple[list[str], bool, bool]] = []

    def start(command: list[str], *, host: bool, exits: bool) -> None:
        started.append((command, host, exits))

    monkeypatch.setattr(perf_live, "PerfLive", start)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    open_perf(perf, hz)
    [(command, host, exits)] = started
    assert (host, exits) == (perf.host, perf.exits)
    assert set(words) <= set(command)
