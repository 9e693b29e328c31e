"""Weights by key, and what the samples of a key have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import Placement
from gprof.sampling.numbering import AT_ONCE, Numbering, ascending, one_of_each
from gprof.sampling.source import Int64s, SampleBatch

#: The key of an entity (a place, a module, …) in a mode is `entity * MODES + mode`.
MODES = 8

#: Where the samples of a key do not all have the same value.
SEVERAL = -1


@dataclass(frozen=True, slots=True)
class Alike:
    """Samples that no table tells apart, as one row: of one place or path, mode, vcpu and task.

    Attributes:
        samples: one of each row; their weights mean nothing.
        placement: of these.
        count: how many each row stands for.
        weight: of all of these together.
    """

    samples: SampleBatch
    placement: Placement
    count: Int64s
    weight: Int64s


def alike(samples: SampleBatch, placement: Placement) -> Alike:
    """Merge samples, a piece at a time: there are few rows, however many samples.

    Args:
        samples: those that count.
        placement: of these.
    """
    numbering, with_task = Numbering(), Numbering()
    tasks = bool(samples.task.any())
    example, count, weight = (np.zeros(0, np.int64) for _ in range(3))
    for first in range(0, len(samples), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        path = placement.path[rows].astype(np.int64)
        where = np.where(path < 0, placement.own[rows], path + len(placement.places))
        key = (where * MODES + placement.mode[rows]) << 16 | samples.vcpu[rows]
        numbers, _ = numbering.number(key.view(np.uint64))
        if tasks:
            key = numbers.astype(np.int64) << 32 | samples.task[rows]
            numbers, _ = with_task.number(key.view(np.uint64))
        known, length = len(example), len(with_task if tasks else numbering)
        if length > known:
            new = first + one_of_each(numbers, length)[known:]
            example = np.concatenate([example, new])
            count, weight = (np.pad(column, (0, length - known)) for column in (count, weight))
        count += np.bincount(numbers, minlength=length)
        weight += weigh(numbers, samples.weight[rows], length)
    return Alike(samples.select(example), placement.select(example), count, weight)


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
    entity_of: Int64s,
    keys: Int64s,
    *,
    own: Int64s,
    told: Sequence[NDArray[Any]],
    weight: Int64s,
    length: int,
) -> tuple[Int64s, list[Int64s]]:
    """What each key weighs anywhere on the stacks, and which values its samples share.

    Args:
        placement: of the samples that count.
        entity_of: for each place its entity.
        keys: for each sample its own key; the stack's other keys have the same mode.
        own: for each key its self weight.
        told: columns of samples, such as the numbers of their vcpus; see `shared`.
        weight: of each sample.
        length: one more than the greatest key.
    """
    path = placement.path
    without = path < 0
    if without.all():
        return own, [shared(keys, column, length) for column in told]
    # A function that is twice on a stack counts once: the entities of a path are made distinct.
    pairs = ascending(
        (placement.pair_path.astype(np.int64) << 32) | entity_of[placement.pair_place]
    )
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
