"""Recordings that gprof is still writing, read until they hold what a test waits for.

Nothing here has a bound of its own: pytest's timeout is one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gprof.profile.profile import Profile
from gprof.recording.reader import read


def await_recording(path: Path, condition: Callable[[Profile], bool]) -> Profile:
    """Wait until what is on disk meets a condition; a file announces itself to nobody."""
    while True:
        if path.exists() and path.stat().st_size and condition(profile := read(path)):
            return profile
        time.sleep(0.1)


def recorded(path: Path) -> int:
    """How many samples are on disk."""
    return len(read(path).samples) if path.exists() and path.stat().st_size else 0


def await_samples(path: Path, count: int) -> None:
    """Wait until so many samples are on disk."""
    await_recording(path, lambda profile: len(profile.samples) >= count)


def await_more(*paths: Path, samples: int) -> None:
    """Wait until every recording has so many samples more."""
    wanted = {path: recorded(path) + samples for path in paths}
    for path, count in wanted.items():
        await_samples(path, count)


def await_note(path: Path, words: str) -> None:
    """Wait until a recording says something."""
    await_recording(path, lambda profile: any(words in note for note in profile.facts.notes))
