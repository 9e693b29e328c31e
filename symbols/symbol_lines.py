"""Symbols as the kernel lists them: a line each, with a type and an owner, but without sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.names import Names

#: The owner of what belongs to no module.
KERNEL = -1


@dataclass(frozen=True, slots=True)
class SymbolLines:
    """The columns of a list of symbols, in the list's own order.

    Attributes:
        address: u64, of each.
        kind: u8, the letter of its type, as nm prints it.
        names: its name.
        owner: i64, index into `owners`, or `KERNEL`.
        owners: names of modules, and of kinds of text made at run time; safe to show.
    """

    address: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    names: Names
    owner: NDArray[np.int64]
    owners: list[str]

    def __len__(self) -> int:
        return len(self.address)

    @classmethod
    def joined(cls, parts: Sequence[SymbolLines]) -> SymbolLines:
        """Several lists behind one another; owners of one name become one."""
        owners: dict[str, int] = {}
        owner = []
        for part in parts:
            number = [owners.setdefault(name, len(owners)) for name in part.owners]
            # The kernel's -1 picks the last of these.
            owner.append(np.array([*number, KERNEL], np.int64)[part.owner])
        none = np.empty(0, np.int64)
        return cls(
            np.concatenate([none.astype(np.uint64), *(part.address for part in parts)]),
            np.concatenate([none.astype(np.uint8), *(part.kind for part in parts)]),
            Names.joined([part.names for part in parts]),
            np.concatenate([none, *owner]),
            list(owners),
        )
