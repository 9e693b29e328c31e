"""Sorted columns of symbols and the lookup of many addresses at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.names import Names


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol, at the addresses of the table or space that gave it.

    Attributes:
        name: text that is safe to show.
        start: its first address.
        end: the address after its last.
    """

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """Symbols by ascending, distinct start; one name for each, the best of its aliases.

    Ranges may nest (a label with a size inside a function) but two never start alike.

    Attributes:
        start: u64, first address of each.
        end: u64, the address after its last.
        names: their names, in the same order.
    """

    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    names: Names

    @classmethod
    def empty(cls) -> SymbolTable:
        """A table without symbols."""
        none = np.empty(0, np.uint64)
        return cls(none, none, Names.of(()))

    @classmethod
    def of(cls, symbols: list[Symbol]) -> SymbolTable:
        """A table of a few symbols given one by one; of equal starts the first is kept."""
        distinct = {symbol.start: symbol for symbol in reversed(symbols)}
        ordered = [distinct[start] for start in sorted(distinct)]
        return cls(
            np.array([symbol.start for symbol in ordered], np.uint64),
            np.array([symbol.end for symbol in ordered], np.uint64),
            Names.of(symbol.name for symbol in ordered),
        )

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, index: int) -> Symbol:
        return Symbol(self.names[index], int(self.start[index]), int(self.end[index]))

    def lookup(self, addresses: NDArray[np.uint64]) -> NDArray[np.int64]:
        """For each address the index of the innermost symbol that holds it, or -1."""
        if not len(self.start):
            return np.full(len(addresses), -1, np.int64)
        index = np.searchsorted(self.start, addresses, side="right").astype(np.int64) - 1
        outside = np.flatnonzero((index >= 0) & (addresses >= self.end[np.maximum(index, 0)]))
        if len(outside):
            index[outside] = self._enclosing(index[outside], addresses[outside])
        return index

    def _enclosing(
        self, index: NDArray[np.int64], addresses: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """For each address the nearest symbol before `index` that still holds it, or -1.

        A nested symbol hides the rest of the one around it; nesting in real tables is one deep,
        so a few steps back suffice, and a hostile table cannot make the search long.
        """
        found = np.full(len(index), -1, np.int64)
        # How far the symbols up to each reach: an address beyond lies in none of them.
        reach = np.maximum.accumulate(self.end)
        pending = np.flatnonzero(addresses < reach[index])
        for step in range(1, 17):
            at = index[pending] - step
            pending, at = pending[at >= 0], at[at >= 0]
            holds = addresses[pending] < self.end[at]
            found[pending[holds]] = at[holds]
            pending = pending[~holds]
            if not len(pending):
                break
        return found
