"""A guest that is reset while it is recorded: both boots by their own symbols."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.profile.view import tabulate
from gprof.recording.reader import read
from gprof.sampling.source import Mode
from symbols.space import Reason
from tests.command_line import end, started
from tests.guests.boots import await_names, check_boot, recorded_by_both, what_the_guest_says
from tests.guests.conftest import Bootable
from tests.guests.recordings import await_more, await_recording
from tests.guests.resetting import ResettingGuest
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor


@pytest.fixture
def resetting_guest(bootable: Bootable) -> Iterator[ResettingGuest]:
    """Debian's kernel on one vcpu, which the test may reset."""
    with ResettingGuest(*bootable, vcpus=1, patience=400) as guest:
        yield guest


def test_both_boots_have_their_own_symbols(resetting_guest: ResettingGuest, tmp_path: Path) -> None:
    guest = resetting_guest
    with (
        recorded_by_both(guest, tmp_path) as paths,
        Monitor(guest.other_address) as other,
    ):
        await_more(*paths, samples=200)
        before = what_the_guest_says(guest)
        other.execute("system_reset")
        guest.await_boot()
        await_more(*paths, samples=200)
        after = what_the_guest_says(guest)
        await_names(after, *paths, boots=2)
    for path in paths:
        profile = read(path)
        eras = profile.space(0).eras
        assert len(eras) >= 2
        old = profile.samples.time < eras[1].since_ns
        check_boot(profile, before, old)
        check_boot(profile, after, ~old)
        assert profile.guests[0].kernel == guest.kernel.release
        assert any("was found" in note for note in profile.facts.notes)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", ["monitor", "both"])
def test_a_program_without_an_operating_system_is_where_it_was(tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    with WatchedDemo(vcpus=1) as guest, Monitor(guest.other_address) as other:
        vmlinux = ("--guestvmlinux", guest.image)
        with started("record", *guest.addresses(way), *vmlinux, "-F", "200", "-o", path) as process:
            await_more(path, samples=200)
            other.execute("system_reset")
            await_recording(path, lambda profile: len(profile.space(0).eras) >= 2)
            await_more(path, samples=200)
            assert end(process, signal.SIGINT)[0] == 0
    profile = read(path)
    assert len(profile.space(0).eras) >= 2
    assert any(note == "The guest was reset." for note in profile.facts.notes)
    table = tabulate(profile)
    # Firmware runs before the program.
    assert set(table.unresolved) <= {Reason.FIRMWARE, Reason.BEFORE_KERNEL}
    assert profile.samples.mode.tolist().count(Mode.FIRMWARE) == sum(
        row.self_weight for row in table.rows if row.label == "[firmware]"
    )
