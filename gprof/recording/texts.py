"""The instructions of hot functions, kept so that a recording can be annotated anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from symbols.memory import Memory, MemoryFault

#: Bytes of one function; the largest of a Linux kernel have some 30 KiB.
LONGEST_TEXT = 128 << 10

#: Functions of one profile.
_MOST_TEXTS = 400


def hot_texts(
    profile: Profile, memories: Mapping[int, Memory], most: int = _MOST_TEXTS
) -> Iterator[tuple[int, int, bytes]]:
    """Guest, runtime address and bytes of the functions in which most samples lie.

    Args:
        profile: what was sampled.
        memories: where the bytes come from, by guest id.
        most: how many functions.
    """
    wanted = {
        (row.guest, row.address, row.era): None
        for row in tabulate(profile).rows
        if row.symbol is not None and row.self_weight
    }
    for guest, place, era in list(wanted)[:most]:
        found = profile.symbol_at(guest, place, era)
        memory = memories.get(guest)
        if found is None or memory is None:
            continue
        if profile.space(guest).image_at(found.symbol.start) is not found.image:
            continue  # it was of an era that is over, and something else may be there now
        address = found.symbol.start
        size = min(found.symbol.end - found.symbol.start, LONGEST_TEXT)
        try:
            yield guest, address, memory.read(address, size)
        except MemoryFault:
            continue  # what is not mapped, or was not kept, cannot be shown
