"""Recordings of every version that was ever written can be read."""

from __future__ import annotations

from pathlib import Path

from gprof.profile.tasks import GuestTask
from gprof.profile.view import tabulate
from gprof.recording.reader import read
from symbols.space import Reason

KEPT = Path(__file__).parents[3] / "fixtures" / "recordings"


def test_version_1_0() -> None:
    profile = read(KEPT / "v1.0.gprof")
    assert profile.facts.notes == ()
    assert (profile.facts.way, profile.facts.target) == ("gdbstub", "localhost:1234")
    assert profile.facts.asked_hz == 99.0
    assert profile.guests[0].name == "web1"
    assert profile.started_ns == 1_750_000_000_000_000_000
    assert [image.name for image in profile.space(0).images] == [
        "[kernel]", "ext4", "virtio_net", "blob",
    ]  # fmt: skip
    table = tabulate(profile)
    assert (table.samples, len(profile.stacks)) == (64, 39)
    assert [(row.label, row.self_weight) for row in table.rows[:3]] == [
        ("[user]", 18), ("default_idle", 10), ("clear_page_erms", 7),
    ]  # fmt: skip


def test_version_1_1() -> None:
    profile = read(KEPT / "v1.1.gprof")
    assert profile.facts.notes == ()
    first, second = profile.space(0).eras
    assert [image.name for image in first.images] == ["[kernel]", "ext4", "virtio_net", "blob"]
    assert [image.name for image in second.images] == ["[kernel]"]
    assert second.images[0].slide - first.images[0].slide == 0x400_0000
    assert (profile.samples.time >= second.since_ns).sum() == 32
    table = tabulate(profile)
    # Functions of the kernel are the same in both boots; modules were not loaded yet.
    assert [(row.label, row.self_weight) for row in table.rows[:3]] == [
        ("[user]", 18), ("default_idle", 10), ("clear_page_erms", 7),
    ]  # fmt: skip
    assert table.unresolved[Reason.NO_IMAGE] > 1
    assert {row.task.comm for row in table.rows if row.task is not None} <= {"dd"}
    assert profile.tasks[1] == GuestTask(0, 7, 7, "dd", kernel_thread=False)
