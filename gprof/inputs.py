"""What `-i FILE` may be, recognised by content, as a profile."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from gprof.given_symbols import GivenSymbols
from gprof.profile.code import Code
from gprof.profile.profile import Profile
from gprof.profile.samples import SampleTable
from gprof.recording.reader import read, read_from
from gprof.recording.recognition import kind_of, kind_of_stdin
from gprof.sampling.source import Mode


@dataclass(frozen=True, slots=True)
class Input:
    """A profile from a file, and the code of its guests.

    Attributes:
        profile: what was sampled.
        code: instructions by guest id.
    """

    profile: Profile
    code: dict[int, Code]


def load(
    path: Path,
    given: GivenSymbols,
    *,
    host: bool = False,
    event: str = "",
    exits: bool = False,
) -> Input:
    """Read a whole recording, of gprof or of perf.

    Args:
        path: of the file; `-` is standard input.
        given: symbols to use instead of those that the recording carries.
        host: keep perf's samples of the host itself too, as those of a guest of their own.
        event: of perf's events the one to take; the first that sampled a guest where empty.
        exits: take the guest's address at every VM exit that perf recorded, instead of samples.

    Raises:
        FormatError: gprof reads no such file.
        UsageError, PermissionProblem: it cannot be opened.
        SymbolsError: the symbols are of another kernel than the recording's.
    """
    if str(path) == "-":
        kind = kind_of_stdin()
        return (
            _recorded(read_from(sys.stdin.buffer, "standard input"), given)
            if kind == "gprof"
            else _perf("-", given, host=host, event=event, exits=exits)
        )
    if kind_of(path) == "perf":
        return _perf(path, given, host=host, event=event, exits=exits)
    return _recorded(read(path), given)


def _recorded(profile: Profile, given: GivenSymbols) -> Input:
    if not given:
        return Input(profile, {n: Code(profile.texts.get(n)) for n in profile.guests})
    # What reads symbol files takes longer to import than a recording to open.
    from gprof.recorded_names import renamed  # noqa: PLC0415

    return Input(*renamed(profile, given))


def _perf(path: Path | str, given: GivenSymbols, *, host: bool, event: str, exits: bool) -> Input:
    # What reads perf's format takes as long to import as a recording of ours to open.
    from gprof.perf_spaces import PerfSpaces  # noqa: PLC0415
    from gprof.sampling.perf import PerfFile  # noqa: PLC0415

    source = PerfFile(path, host=host, event=event, exits=exits)
    # Holds them once, as a list of batches would not when they are joined.
    table = SampleTable(source.data.most_samples)
    for batch in source.batches():
        table.append(batch)
    samples = table.frozen()
    found = PerfSpaces(given)
    guests, spaces = found.follow(source)
    if guests:
        given.refuse_strangers([guest.pid for guest in source.guests() if not guest.is_host])
    found.refuse_doubtful(samples.guest, samples.pc, samples.mode == Mode.KERNEL)
    return Input(Profile(samples, source.facts(), guests, spaces), found.code)
