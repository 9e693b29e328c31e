"""The row that stands for a node of the tree of calls, for what works on rows."""

from __future__ import annotations

import numpy as np

from gprof.profile.profile import Profile
from gprof.profile.tree import Node, NodeKind
from gprof.profile.view import Row
from gprof.sampling.source import Mode
from symbols.names import printable
from symbols.space import Reason, SymbolAt
from tui.flame_layout import Path


def row_of(node: Node, path: Path, profile: Profile) -> Row | None:
    """The symbol of a node; None where it is none, or its image is gone.

    Of several symbols of one name in one image the one with the most samples is meant.
    """
    if not path or not node.module:
        return None
    found: list[tuple[int, int, SymbolAt]] = []
    for guest in _guests(path, profile):
        found += [
            (_samples(profile, guest, at), guest, at)
            for at in profile.space(guest).find(node.name)
            if at.image.name == node.module
        ]
    if not found:
        return None
    _, guest, at = max(found, key=lambda one: one[0])
    return Row(
        symbol=node.name,
        module=node.module,
        mode=Mode.IDLE if node.kind is NodeKind.IDLE else Mode.UNKNOWN,
        reason=Reason.RESOLVED,
        guest=guest,
        vcpu=-1,
        address=at.symbol.start,
        self_weight=node.own,
        total_weight=node.total,
    )


def _guests(path: Path, profile: Profile) -> list[int]:
    """The guests that a path may be of: the first level names it where there are several."""
    if len(profile.guests) < 2:
        return list(profile.spaces)
    return [
        number
        for number in profile.spaces
        if number not in profile.guests or printable(profile.guests[number].name) == path[0][0]
    ]


def _samples(profile: Profile, guest: int, at: SymbolAt) -> int:
    pc = profile.samples.pc
    inside = (pc >= np.uint64(at.symbol.start)) & (pc <= np.uint64(at.symbol.end - 1))
    return int((inside & (profile.samples.guest == guest)).sum())
