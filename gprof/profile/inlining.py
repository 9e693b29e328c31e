"""Functions that a compiler has put into their callers, as frames of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gprof.profile.filter import Filter
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.traces import Traces, traces
from symbols.lines_of_space import SpaceLines
from symbols.source_frames import Chain

#: Chains by guest and address; see `chains_of`.
Chains = Mapping[tuple[int, int], Chain]


def chains_of(profile: Profile, found: Traces, lines: SpaceLines) -> Chains:
    """The source lines at every address of some stacks, by guest and address.

    Args:
        profile: what was sampled.
        found: its stacks, with their addresses.
        lines: tells source lines.
    """
    wanted: dict[int, set[int]] = defaultdict(set)
    for places, pcs in zip(found.stacks, found.pcs, strict=True):
        for depth, (place, pc) in enumerate(zip(places, pcs, strict=True)):
            if found.places[place].symbol is not None:
                wanted[found.places[place].guest].add(inside(pc, depth))
    return {
        (guest, pc): chain
        for guest, addresses in wanted.items()
        for pc, chain in lines.find(profile.space(guest), addresses).items()
        if chain
    }


def inside(pc: int, depth: int) -> int:
    """An address inside the instruction that was at work: callers are behind theirs."""
    return pc - 1 if depth and pc else pc


def inlined_traces(profile: Profile, chosen: Filter, lines: SpaceLines | None) -> Traces:
    """The threads and stacks of a profile, with inlined functions where lines tell them."""
    if lines is None:
        return traces(profile, chosen)
    return with_inlined(profile, traces(profile, chosen, exact=True), lines)


def with_inlined(profile: Profile, found: Traces, lines: SpaceLines) -> Traces:
    """The same samples on stacks in which each inlined function has a frame.

    Args:
        profile: what was sampled.
        found: its stacks, with their addresses; the result is without.
        lines: tells source lines.
    """
    chains = chains_of(profile, found, lines)
    places = list(found.places)
    known: dict[tuple[int, str, str], int] = {}

    def inlined(into: int, name: str) -> int:
        place = places[into]
        key = (place.guest, place.module, name)
        if key not in known:
            known[key] = len(places)
            places.append(_inlined(place, name))
        return known[key]

    numbers: dict[tuple[int, ...], int] = {}
    number_of = np.zeros(len(found.stacks), np.int32)
    for i, (stack, pcs) in enumerate(zip(found.stacks, found.pcs, strict=True)):
        frames: list[int] = []
        for depth, (place, pc) in enumerate(zip(stack, pcs, strict=True)):
            chain = chains.get((places[place].guest, inside(pc, depth)), ())
            frames += [inlined(place, one.function) for one in chain[:-1] if one.function]
            frames.append(place)
        number_of[i] = numbers.setdefault(tuple(frames), len(numbers))
    return replace(
        found,
        stack=number_of[found.stack] if len(number_of) else found.stack,
        places=tuple(places),
        stacks=tuple(numbers),
        pcs=(),
    )


def _inlined(into: Place, name: str) -> Place:
    return replace(into, symbol=name, name=name)
