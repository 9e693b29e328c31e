"""What recordings of a guest that boots say, beside what the guest says of itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gprof.profile.profile import Profile
from gprof.recording.reader import read
from gprof.sampling.source import Mode
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import kernel_space
from symbols.modules import open_modules
from symbols.space import AddressSpace
from symbols.table import Symbol
from tests.command_line import end, started
from tests.guests.linux import LinuxGuest
from tests.waiting import wait_until

#: Seconds after which gprof has noticed what was loaded, on a crowded machine too.
_NOTICED_S = 120


def functions(space: AddressSpace, pcs: NDArray[np.uint64]) -> list[Symbol | None]:
    found = space.resolve(pcs)
    return [
        space.symbol(image, symbol).symbol if symbol >= 0 else None
        for image, symbol in zip(found.image.tolist(), found.symbol.tolist(), strict=True)
    ]


def what_the_guest_says(guest: LinuxGuest) -> AddressSpace:
    return kernel_space(kallsyms=Kallsyms.open(guest.kallsyms), modules=open_modules(guest.modules))


def await_names(truth: AddressSpace, *paths: Path, boots: int = 1) -> None:
    """Wait until what the guest has now has a name in every recording, or for long enough.

    Modules that it has loaded are noticed some moments later. What is still without a name then
    is for the test to judge.

    Args:
        truth: what the guest says.
        paths: recordings that go on.
        boots: how many eras they must have at least.
    """
    deadline = time.monotonic() + _NOTICED_S
    for path in paths:
        wait_until(
            lambda: _all_named(read(path), truth, boots) or time.monotonic() > deadline,  # noqa: B023 - called at once
            f"{path.name}: names of what the guest has",
            patience=2 * _NOTICED_S,
            pause=0.2,
        )


def _all_named(profile: Profile, truth: AddressSpace, boots: int) -> bool:
    eras = profile.space(0).eras
    if len(eras) < boots:
        return False
    new = profile.samples.time >= eras[boots - 1].since_ns
    _, different = compared(profile, truth, new)
    return all(found is not None for found, _ in different)


@contextmanager
def recorded_by_both(guest: LinuxGuest, folder: Path) -> Iterator[tuple[Path, Path]]:
    """Two recordings while the context lasts: by stub without a file, by monitor and vmlinux."""
    by_stub, by_monitor = folder / "stub.gprof", folder / "monitor.gprof"
    stub = ("--gdb", guest.gdb_address)
    monitor = ("--qmp", guest.qmp_address, "--guestvmlinux", guest.vmlinux)
    with (
        started("record", *stub, "-o", by_stub) as first,
        started("record", *monitor, "-o", by_monitor) as second,
    ):
        yield by_stub, by_monitor
        assert end(first, signal.SIGINT)[0] == 0
        assert end(second, signal.SIGINT)[0] == 0


def check_boot(profile: Profile, truth: AddressSpace, ours: NDArray[np.bool_]) -> None:
    """The kernel samples of one boot have the names that the guest itself has for them."""
    known, different = compared(profile, truth, ours)
    assert known >= 50
    assert len(different) <= 0.001 * known, (known, different)


def compared(
    profile: Profile, truth: AddressSpace, ours: NDArray[np.bool_]
) -> tuple[int, list[tuple[Symbol | None, Symbol]]]:
    """How many kernel samples the guest has a name for, and those for which ours is another."""
    samples = profile.samples
    ours = ours & np.isin(samples.mode, (Mode.KERNEL, Mode.IDLE))
    eras = profile.space(0).eras
    era_of = profile.space(0).era_at(samples.time)
    known = 0
    different: list[tuple[Symbol | None, Symbol]] = []
    for number in np.unique(era_of[ours]).tolist():
        pcs = samples.pc[ours & (era_of == number)]
        pairs = zip(functions(eras[number], pcs), functions(truth, pcs), strict=True)
        for found, told in pairs:
            if told is None:
                continue
            known += 1
            # Of two names at one address a vmlinux and a kallsyms text may prefer different ones.
            if found is None or (found.name != told.name and found.start != told.start):
                different.append((found, told))
    return known, different
