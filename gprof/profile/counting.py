"""Weights by key, and what the samples of a key have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import Placement
from gprof.sampling.numbering import ascending
from gprof.sampling.source import Int64s

#: The key of an entity (a place, a module, …) in a mode is `entity * MODES + mode`.
MODES = 8

#: Where the samples of a key do not all have the same value.
SEVERAL = -1


def weigh(keys: NDArray[Any], weight: NDArray[Any], length: int) -> Int64s:
    """The sum of the weights of each key from 0 to `length`, exact up to 2^53."""
    return np.bincount(keys, weight, length).astype(np.int64)


def shared(keys: NDArray[Any], values: NDArray[Any], length: int) -> Int64s:
    """For each key the value that all of its items have, or SEVERAL; also where it has none."""
    one = np.full(length, SEVERAL, np.int64)
    one[keys] = values  # one of the values of each key, no matter which
    one[keys[one.astype(values.dtype)[keys] != values]] = SEVERAL
    return one


def totals(
    placement: Placement,
    entity_of: Int64s | None,
    keys: Int64s,
    *,
    own: Int64s,
    told: Sequence[NDArray[Any]],
    weight: Int64s,
    length: int,
) -> tuple[Int64s, list[Int64s]]:
    """What each key weighs anywhere on the stacks, and which values its samples share.

    Args:
        placement: of the groups that count.
        entity_of: for each place its entity; None where each is one.
        keys: for each group of samples its own key; the stack's others have the same mode.
        own: for each key its self weight.
        told: columns of groups, such as the numbers of their vcpus; see `shared`.
        weight: of each group.
        length: one more than the greatest key.
    """
    path = placement.path
    without = path < 0
    if without.all():
        return own, [shared(keys, column, length) for column in told]
    pair_path = placement.pair_path.astype(np.int64)
    pair_entity = placement.pair_place.astype(np.int64)
    if entity_of is not None:
        # What is twice on a stack counts once: the entities of a path are made distinct.
        pairs = ascending(pair_path << 32 | entity_of[placement.pair_place])
        pair_path, pair_entity = pairs >> 32, pairs & 0xFFFFFFFF
    on_path = path[~without] * MODES + keys[~without] % MODES
    paths = len(placement.frames) * MODES
    path_weight = weigh(on_path, weight[~without], paths)
    path_told = [shared(on_path, column[~without], paths) for column in told]
    total = weigh(keys[without], weight[without], length)
    seen_keys = [keys[without]]
    seen = [[column[without]] for column in told]
    for mode in np.unique(on_path % MODES).tolist():
        at = pair_path * MODES + mode
        here = path_weight[at] > 0
        key = pair_entity[here] * MODES + mode
        total += np.bincount(key, path_weight[at[here]], length).astype(np.int64)
        seen_keys.append(key)
        for values, of_path in zip(seen, path_told, strict=True):
            values.append(of_path[at[here]])
    every_key = np.concatenate(seen_keys)
    return total, [shared(every_key, np.concatenate(values), length) for values in seen]
