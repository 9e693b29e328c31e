"""Recordings of every version that was ever written can be read."""

from __future__ import annotations

from pathlib import Path

from gprof.profile.view import tabulate
from gprof.recording.reader import read

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
