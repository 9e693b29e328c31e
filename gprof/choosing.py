"""Finding the symbol that a person means, by name or by address."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from gprof.errors import UsageError
from gprof.profile.one_place import in_one_place
from gprof.profile.profile import Profile
from symbols.names import printable
from symbols.space import AddressSpace, SymbolAt

_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """A symbol of a guest.

    Attributes:
        guest: id of the guest.
        at: the symbol.
        others: more symbols of the same name, each with its samples, which are fewer.
    """

    guest: int
    at: SymbolAt
    others: tuple[tuple[SymbolAt, int], ...] = ()


def choose_symbol(profile: Profile, wanted: str) -> Chosen:
    """The symbol that is called `wanted`, or holds that address (`0x…`); the hottest of several.

    Raises:
        UsageError: there is none; names that are near are listed.
    """
    address = _address(wanted)
    found: list[tuple[int, SymbolAt]] = []
    for guest, space in profile.spaces.items():
        for era in reversed(space.eras):
            if address is None:
                here = era.find(wanted)
            else:
                at = era.symbol_at(address)
                here = [at] if at is not None else []
            if here:
                found += [(guest, at) for at in here]
                break
    if not found:
        raise UsageError(
            f"the guest has no symbol {printable(wanted)!r}"
            if address is None
            else f"no symbol holds the address {address:#x}",
            _near(profile, wanted) if address is None else "",
        )
    counted = [(_samples(profile, guest, at), guest, at) for guest, at in found]
    counted.sort(key=lambda one: -one[0])
    (_, guest, best), *others = counted
    return Chosen(guest, best, tuple((at, samples) for samples, _, at in others))


def _address(text: str) -> int | None:
    if not text.lower().startswith("0x"):
        return None
    try:
        address = int(text, 16)
    except ValueError:
        return None
    return address if address < 1 << 64 else None


def _samples(profile: Profile, guest: int, at: SymbolAt) -> int:
    samples = in_one_place(profile, at, guest).samples
    inside = (samples.pc >= np.uint64(at.symbol.start)) & (
        samples.pc <= np.uint64(at.symbol.end - 1)
    )
    return int((inside & (samples.guest == guest)).sum())


def _near(profile: Profile, wanted: str) -> str:
    names = {name for space in profile.spaces.values() for name in _names(space)}
    if not names:
        return "No symbols are known: give --guestvmlinux or --guestkallsyms."
    near = sorted(name for name in names if wanted and wanted in name)[:_MOST_SHOWN]
    near = near or difflib.get_close_matches(wanted, names, _MOST_SHOWN)
    return f"Near to it: {', '.join(near)}." if near else "Nothing of a similar name either."


def _names(space: AddressSpace) -> list[str]:
    return [
        image.table.names[i]
        for image in space.loaded()
        if image.table is not None
        for i in range(len(image.table))
    ]
