"""Stacks as a tree in columns: each distinct beginning of a stack is one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import Int64s


@dataclass(frozen=True, slots=True)
class PrefixTree:
    """Rows, callers before those they call.

    Attributes:
        caller: of each row the row of its caller; -1 at the root.
        frame: of each row its function.
        end: of each stack the row of its leaf.
    """

    caller: Int64s
    frame: Int64s
    end: Int64s

    def reaching(self, ends: Int64s) -> NDArray[np.bool_]:
        """For each row whether it is on the way to one of `ends`."""
        used = np.zeros(len(self.caller), bool)
        at = np.unique(ends)
        while len(at):
            used[at] = True
            at = self.caller[at]
            at = np.unique(at[at >= 0])
            at = at[~used[at]]
        return used


def prefix_tree(stacks: Sequence[tuple[int, ...]]) -> PrefixTree:
    """Build the tree level by level, each for all stacks at once.

    Args:
        stacks: leaf first, none empty; functions are small numbers, none negative.
    """
    depth = np.array([len(stack) for stack in stacks], np.int64)
    flat = np.fromiter(chain.from_iterable(stacks), np.int64, int(depth.sum()))
    root = np.cumsum(depth) - 1
    width = int(flat.max(initial=0)) + 1
    row = np.full(len(stacks), -1, np.int64)
    callers, frames = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    rows = 0
    here = np.arange(len(stacks))
    for level in range(int(depth.max(initial=0))):
        here = here[depth[here] > level]
        key, inverse = np.unique(
            (row[here] + 1) * width + flat[root[here] - level], return_inverse=True
        )
        row[here] = rows + inverse
        rows += len(key)
        callers.append(key // width - 1)
        frames.append(key % width)
    return PrefixTree(np.concatenate(callers), np.concatenate(frames), row)
