"""Profiles that grow, looked at until they hold what a test waits for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gprof.live import Live
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.recording.reader import read
from tests.waiting import PATIENCE, patience_for, wait_until


def await_recording(
    path: Path,
    condition: Callable[[Profile], bool],
    what: str = "what the test waits for",
    patience: float = PATIENCE,
) -> Profile:
    """Wait until what is on disk meets a condition; a file announces itself to nobody."""
    found: list[Profile] = []

    def met() -> bool:
        found[:] = [read(path)] if _begun(path) else []
        return bool(found) and condition(found[0])

    wait_until(
        met, f"{path.name}: {what}", seen=lambda: _described(found), patience=patience, pause=0.1
    )
    return found[0]


def await_session(
    live: Live, condition: Callable[[Profile], object], what: str, patience: float = PATIENCE
) -> None:
    """Wait until a session of this process meets a condition; it must not end before."""

    def met() -> object:
        assert not live.ended, live.failure
        return condition(live.snapshot())

    wait_until(met, what, seen=lambda: _described([live.snapshot()]), patience=patience, pause=0.25)


def _begun(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _described(found: list[Profile]) -> str:
    if not found:
        return "It does not exist."
    (profile,) = found
    facts = profile.facts
    rows = [f"{row.self_weight} {row.label}" for row in tabulate(profile).rows[:10]]
    return (
        f"It has {len(profile.samples)} samples in {facts.covered_ns / 1e9:.0f} s, held "
        f"{facts.held_ns / 1e9:.0f} s, {len(profile.space(0).eras)} eras; {rows}; {facts.notes}"
    )


def recorded(path: Path) -> int:
    """How many samples are on disk."""
    return len(read(path).samples) if _begun(path) else 0


def await_samples(path: Path, count: int) -> None:
    """Wait until so many samples are on disk."""
    await_recording(
        path,
        lambda profile: len(profile.samples) >= count,
        f"{count} samples",
        patience_for(count),
    )


def await_more(*paths: Path, samples: int) -> None:
    """Wait until every recording has so many samples more."""
    wanted = {path: recorded(path) + samples for path in paths}
    for path, count in wanted.items():
        await_samples(path, count)


def says(profile: Profile, words: str) -> bool:
    """Whether one of the notes of a recording has these words."""
    return any(words in note for note in profile.facts.notes)


def await_note(path: Path, words: str) -> None:
    """Wait until a recording says something."""
    await_recording(path, lambda profile: says(profile, words), f"the note {words!r}")
