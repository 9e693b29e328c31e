"""A program that runs elsewhere than its file says: a loader that has moved itself."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from symbols.elf import Image
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_recording
from tests.guests.test_extra_images import works
from tests.guests.watched_demo import WatchedDemo

#: Where the bundled guest has no memory.
ELSEWHERE = 0x7000_0000


@pytest.mark.parametrize("way", ["stub", "monitor"])
def test_it_is_found_by_its_bytes(demo_guest: WatchedDemo, tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    named = f"{demo_guest.image}@{ELSEWHERE:#x}"
    options = (*PCS_ONLY, "--symbols", named, "-o", path)
    with started("record", *demo_guest.addresses(way), *options) as process:
        profile = await_recording(path, works)
        assert end(process, signal.SIGINT)[0] == 0
    linked = Image.open(demo_guest.image).text[0]
    assert {image.start for image in profile.space(0).images} == {ELSEWHERE, linked}
