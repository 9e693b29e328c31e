"""What recordings of a guest that boots say, beside what the guest says of itself."""

from __future__ import annotations

import time
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
from tests.guests.linux import LinuxGuest


def recorded(path: Path) -> int:
    """How many samples are on disk."""
    return len(read(path).samples) if path.exists() and path.stat().st_size else 0


def await_more(*paths: Path, samples: int) -> None:
    """Wait until every recording has so many samples more; pytest's timeout bounds this."""
    wanted = {path: recorded(path) + samples for path in paths}
    while any(recorded(path) < count for path, count in wanted.items()):
        time.sleep(0.1)


def functions(space: AddressSpace, pcs: NDArray[np.uint64]) -> list[Symbol | None]:
    found = space.resolve(pcs)
    return [
        space.symbol(image, symbol).symbol if symbol >= 0 else None
        for image, symbol in zip(found.image.tolist(), found.symbol.tolist(), strict=True)
    ]


def what_the_guest_says(guest: LinuxGuest) -> AddressSpace:
    return kernel_space(kallsyms=Kallsyms.open(guest.kallsyms), modules=open_modules(guest.modules))


def check_boot(profile: Profile, truth: AddressSpace, ours: NDArray[np.bool_]) -> None:
    """The kernel samples of one boot have the names that the guest itself has for them."""
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
    assert known >= 50
    assert len(different) <= 0.001 * known, (known, different)


def await_note(path: Path, words: str) -> None:
    """Wait until a recording says something; pytest's timeout bounds this."""
    while not (
        path.exists()
        and path.stat().st_size
        and any(words in note for note in read(path).facts.notes)
    ):
        time.sleep(0.1)
