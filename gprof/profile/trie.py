"""Lines of keys that share their beginnings, as a tree in columns that only grows."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import Int64s

K = TypeVar("K", bound=Hashable)


class Trie(Generic[K]):
    """Nodes by number: the root is 0, and every other is greater than the one above it.

    One thread lets it grow. Meanwhile any may look at what was there before, as `Weighed` does.

    Attributes:
        keys: the distinct ones, in the order of first sight.
    """

    def __init__(self) -> None:
        self.keys: list[K] = []
        self._key_numbers: dict[K, int] = {}
        self._nodes: dict[int, int] = {}  # by the one above << 32 | key
        self._below: dict[int, list[int]] = {}
        self._above = array("i", [-1])
        self._key = array("i", [-1])
        self._levels: list[array[int]] = []  # the nodes at each depth, without the root

    def end(self, line: Iterable[K]) -> int:
        """The node that a line leads to from the root; made where it is missing."""
        node = 0
        for depth, key in enumerate(line):
            number = self._key_numbers.get(key)
            if number is None:
                number = self._key_numbers[key] = len(self.keys)
                self.keys.append(key)
            found = self._nodes.get(node << 32 | number)
            if found is None:
                found = self._nodes[node << 32 | number] = len(self._above)
                self._above.append(node)
                self._key.append(number)
                if depth == len(self._levels):
                    self._levels.append(array("i"))
                self._levels[depth].append(found)
                self._below.setdefault(node, []).append(found)
            node = found
        return node

    def find(self, above: int, key: K) -> int | None:
        """The node of a key below another node."""
        number = self._key_numbers.get(key)
        return None if number is None else self._nodes.get(above << 32 | number)

    def below(self, node: int) -> list[int]:
        """The nodes below one, in the order in which they came."""
        return list(self._below.get(node, ()))

    def weighed(self, ends: NDArray[np.integer], weights: NDArray[np.integer]) -> Weighed[K]:
        """The nodes with their weights.

        Args:
            ends: nodes where lines end.
            weights: of those lines. They sum as doubles: exact below 2^53.
        """
        above, key = np.array(self._above, np.int32), np.array(self._key, np.int32)
        levels = tuple(np.array(level, np.int32) for level in self._levels)
        own = np.bincount(ends, weights, len(above)).astype(np.int64)
        total = own.copy()
        for nodes in reversed(levels):
            np.add.at(total, above[nodes], total[nodes])
        return Weighed(self, above, key, levels, own, total)


@dataclass(frozen=True, slots=True)
class Weighed(Generic[K]):
    """A trie as it was once, with weights. Nodes without weight count as not there.

    Attributes:
        trie: has more by now, perhaps.
        above: i32, of each node the one above it; -1 of the root.
        key: i32, of each node the number of its key.
        levels: the nodes at each depth, without the root.
        own: i64, of each node the weight of the lines that end there.
        total: i64, of those that pass or end there.
    """

    trie: Trie[K]
    above: NDArray[np.int32]
    key: NDArray[np.int32]
    levels: tuple[NDArray[np.int32], ...]
    own: Int64s
    total: Int64s

    def find(self, above: int, key: K) -> int | None:
        """The node of a key below another node, if it is there."""
        node = self.trie.find(above, key)
        return node if node is not None and self._has(node) else None

    def below(self, node: int) -> list[int] | NDArray[np.int64]:
        """The nodes below one, in the order in which they came."""
        nodes = self.trie.below(node)
        if len(nodes) < 2:  # most have one: numpy would take longer to be asked
            return [node for node in nodes if self._has(node)]
        found = np.array(nodes, np.int64)
        found = found[found < len(self.total)]
        return found[self.total[found] > 0]

    def lines(self) -> Iterator[tuple[list[K], int]]:
        """Each line that has weight, and that weight."""
        above, key, keys = self.above.tolist(), self.key.tolist(), self.trie.keys
        ends = np.flatnonzero(self.own)
        for end, weight in zip(ends.tolist(), self.own[ends].tolist(), strict=True):
            line, node = [], end
            while node:
                line.append(keys[key[node]])
                node = above[node]
            line.reverse()
            yield line, weight

    def matching(self, matches: Callable[[K], bool]) -> tuple[int, int]:
        """How many nodes have a key that matches, and the weight of the lines that have any."""
        by_key = np.fromiter(map(matches, self.trie.keys[: int(self.key.max()) + 1]), bool)
        marked = np.zeros(len(self.total), bool)
        marked[1:] = by_key[self.key[1:]] & (self.total[1:] > 0)
        inside = np.zeros(len(self.total), bool)
        for nodes in self.levels:
            above = self.above[nodes]
            inside[nodes] = inside[above] | marked[above]
        return int(marked.sum()), int(self.total[marked & ~inside].sum())

    def _has(self, node: int) -> bool:
        return node < len(self.total) and bool(self.total[node])
