"""What tests of recordings share: writing, reading again, and what is alike."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from gprof.profile.profile import Profile
from gprof.profile.tasks import GuestTask
from gprof.profile.view import Group, tabulate
from gprof.recording.reader import read_from
from gprof.recording.writer import save
from gprof.sampling.source import COLUMN_TYPES, SampleBatch, SourceFacts

FACTS = SourceFacts("gdbstub", "localhost:1234")


def bytes_of(profile: Profile, path: Path) -> bytes:
    save(profile, path, force=True)
    return path.read_bytes()


def read_bytes(data: bytes) -> Profile:
    return read_from(BytesIO(data), "x.gprof")


def columns(batch: SampleBatch) -> dict[str, list[int]]:
    return {name: getattr(batch, name).tolist() for name in COLUMN_TYPES}


def stacks_of(profile: Profile) -> list[tuple[int, ...]]:
    return [profile.stacks[stack] for stack in profile.samples.stack.tolist()]


def tasks_of(profile: Profile) -> list[GuestTask | None]:
    return [profile.tasks[task] for task in profile.samples.task.tolist()]


def assert_alike(read_again: Profile, profile: Profile) -> None:
    ours, theirs = columns(read_again.samples), columns(profile.samples)
    for renumbered in ("stack", "task"):
        del ours[renumbered], theirs[renumbered]
    assert ours == theirs
    assert stacks_of(read_again) == stacks_of(profile)
    assert tasks_of(read_again) == tasks_of(profile)
    assert read_again.guests == profile.guests
    assert read_again.started_ns == profile.started_ns
    for group in Group:
        assert tabulate(read_again, group=group) == tabulate(profile, group=group)
