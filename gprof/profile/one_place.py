"""The samples of a symbol that had several places, one after the other, in one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gprof.profile.profile import Profile
from symbols.space import SymbolAt

_WRAP = 1 << 64


def in_one_place(profile: Profile, at: SymbolAt, guest: int) -> Profile:
    """The same profile as if the guest had had a symbol at one place all the time.

    Samples that lie in it in another era are moved to its addresses; of that era nothing else
    is left there, and no call stacks: those have the addresses of their own time.

    Args:
        profile: whose samples.
        at: the symbol.
        guest: id of the guest.
    """
    space, samples = profile.space(guest), profile.samples
    if not space.earlier:
        return profile
    pc, stack = samples.pc.copy(), samples.stack.copy()
    ours = np.flatnonzero(samples.guest == guest)
    era_of = space.era_at(samples.time[ours])
    for number, era in enumerate(space.eras):
        there = era.counterpart(at)
        if there is not None and there.symbol.start == at.symbol.start:
            continue
        here = ours[era_of == number]
        stack[here] = 0
        pcs = samples.pc[here]
        # Ends may be 2^64, which no u64 holds.
        strangers = (pcs >= np.uint64(at.symbol.start)) & (pcs <= np.uint64(at.symbol.end - 1))
        pc[here[strangers]] = 0
        if there is not None:
            first, last = np.uint64(there.symbol.start), np.uint64(there.symbol.end - 1)
            inside = (pcs >= first) & (pcs <= last)
            moved = np.uint64((at.symbol.start - there.symbol.start) % _WRAP)
            pc[here[inside]] = pcs[inside] + moved
    return replace(profile, samples=replace(samples, pc=pc, stack=stack))
