"""Images that are named beside the kernel: a unikernel, and what is no longer where it was."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from gprof.profile.filter import Filter
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.recording.reader import read
from gprof.sampling.source import Mode
from symbols.elf import Image
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_recording
from tests.guests.watched_demo import SHARES, WatchedDemo

WORK = SHARES["work_percent"].keys()
WAYS = ("stub", "monitor")


def shares(profile: Profile) -> dict[str, float]:
    """Percent of the samples that are not idle, by function, where there is none by image."""
    table = tabulate(profile, Filter(modes=frozenset(Mode) - {Mode.IDLE}))
    found: Counter[str] = Counter()
    for row in table.rows:
        found[row.symbol or row.module] += row.self_weight
    return {name: table.percent(weight) for name, weight in found.items()}


def works(profile: Profile) -> bool:
    """Whether enough was sampled, and nearly all of it is the program's work."""
    found = shares(profile)
    return len(profile.samples) >= 200 and sum(found.get(name, 0.0) for name in WORK) > 90


@pytest.mark.parametrize("way", WAYS)
def test_a_unikernel_needs_no_kernel(demo_guest: WatchedDemo, tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    options = (*PCS_ONLY, "--symbols", demo_guest.image, "-o", path)
    with started("record", *demo_guest.addresses(way), *options) as process:
        await_recording(path, works)
        assert end(process, signal.SIGINT)[0] == 0


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_there_names_nothing(demo_guest: WatchedDemo, tmp_path: Path, way: str) -> None:
    """A boot loader was where the program is now; its file is given as well, and last."""
    path, loader = tmp_path / "x.gprof", tmp_path / "loader.bin"
    image = Image.open(demo_guest.image)
    loader.write_bytes(bytes(range(256)) * 4096)
    named = (demo_guest.image, f"{loader}@{image.text_ranges[0][0] & ~0xFFF:#x}")
    symbols = [word for one in named for word in ("--symbols", one)]
    with started("record", *demo_guest.addresses(way), *PCS_ONLY, *symbols, "-o", path) as process:
        # A moment passes until what was sampled is compared; then it has never been there.
        await_recording(path, works)
        assert end(process, signal.SIGINT)[0] == 0
    assert "loader.bin" not in shares(read(path))
