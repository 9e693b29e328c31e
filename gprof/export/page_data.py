"""What the report page knows: a profile as columns that a browser counts in an instant.

Samples that a person cannot tell apart on the page are one row: equal in stack, in slice of
time, and in *lane* (guest, vcpu, mode and task together). So the page's size and speed follow
what is distinct, not how long was sampled. Texts are there once and numbered.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.export.caption import subtitle_of, title_of
from gprof.export.flamegraph import colour
from gprof.export.notes import told
from gprof.profile.prefix_tree import prefix_tree
from gprof.profile.profile import Profile
from gprof.profile.traces import Traces
from gprof.profile.tree import NodeKind, kind_of
from gprof.sampling.numbering import distinct
from gprof.sampling.source import Mode
from symbols.names import printable

#: Slices of time in the histogram, and so the fineness of a chosen range.
SLICES = 300

#: Rows of the heatmap: a second has fifty slots of 20 ms.
SLOTS = 50
_SLOT_NS = 1_000_000_000 // SLOTS
#: Columns of the heatmap; what is longer has columns of several seconds laid over one another.
_MOST_COLUMNS = 1800

#: Tasks that have a name of their own in the filter; the others are one.
_MOST_TASKS = 60

_ROOT = ("all", "", NodeKind.ROOT)


@dataclass(frozen=True, slots=True)
class _Tree:
    """The call tree as columns: a node's caller comes before it; node 0 is the root.

    Attributes:
        frames: distinct functions, as name, module and kind.
        parent: of each node.
        frame: of each node, as index into `frames`.
        node: of each stack, where it ends.
    """

    frames: list[tuple[str, str, NodeKind]]
    parent: NDArray[np.int64]
    frame: NDArray[np.int64]
    node: NDArray[np.int64]


def page_data(profile: Profile, found: Traces, title: str = "") -> dict[str, Any]:
    """Everything that the page's script reads, ready for JSON.

    Args:
        profile: what was sampled.
        found: the samples that count.
        title: stands above; empty names the guests.
    """
    tree = _tree(profile, found)
    number_of_kind = {kind: number for number, kind in enumerate(NodeKind)}
    kinds = np.array([number_of_kind[kind] for _, _, kind in tree.frames], np.int64)
    lane, lanes = _lanes(profile, found)
    time = found.samples.time - (found.samples.time.min() if len(found.samples) else 0)
    length = int(time.max(initial=0)) + 1
    slice_ns = -(-length // SLICES)
    (node, of_lane, slices), _, weight = found.merged(
        tree.node[found.stack], lane, time // slice_ns
    )
    return {
        "title": title_of(profile, title),
        "subtitle": subtitle_of(profile, found.weight),
        "notes": told(profile.facts.notes),
        "total": found.weight,
        "frames": {
            "name": [name for name, _, _ in tree.frames],
            **_numbered("module", [module for _, module, _ in tree.frames]),
            "kind": _column(kinds),
            "kinds": [kind.value for kind in NodeKind],
            **_numbered("colour", [colour(name, kind) for name, _, kind in tree.frames]),
        },
        "kind_colours": [colour("", kind) for kind in NodeKind],
        "nodes": {"parent": _column(tree.parent), "frame": _column(tree.frame)},
        "lanes": lanes,
        "rows": {
            "node": _column(node),
            "lane": _column(of_lane),
            "slice": _column(slices),
            "weight": _column(weight),
        },
        "time": {
            "slices": -(-length // slice_ns),
            "slice_s": slice_ns / 1e9,
            "started_ms": profile.started_ns / 1e6,
        },
        "heat": _heat(profile, found, lane, time, length),
    }


def _tree(profile: Profile, found: Traces) -> _Tree:
    frames: dict[tuple[str, str, NodeKind], int] = {_ROOT: 0}
    of_place = [
        frames.setdefault(
            (printable(place.name) or "[nameless]", printable(place.module), kind_of(place)),
            len(frames),
        )
        for place in found.places
    ]
    several = len(profile.guests) > 1
    of_guest = {
        thread.guest: frames.setdefault((thread.guest_name, "", NodeKind.ROOT), len(frames))
        for thread in found.threads
        if several
    }
    renamed = [
        (*(of_place[place] for place in stack), *_guest_of(found, stack, of_guest))
        for stack in found.stacks
    ]
    tree = prefix_tree(renamed)
    # The root comes before all others.
    zero = np.zeros(1, np.int64)
    return _Tree(
        list(frames),
        np.concatenate([zero, tree.caller + 1]),
        np.concatenate([zero, tree.frame]),
        tree.end + 1,
    )


def _guest_of(found: Traces, stack: tuple[int, ...], of_guest: dict[int, int]) -> tuple[int, ...]:
    return (of_guest[found.places[stack[0]].guest],) if of_guest else ()


def _lanes(profile: Profile, found: Traces) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """For each sample its lane, and what the lanes are."""
    samples = found.samples
    # Tasks of one name are one choice: a shell starts a new `sleep` every second.
    known_task = profile.tasks.known(samples.task)
    groups, group_of = profile.tasks.by_name()
    task = group_of[known_task]
    tasks, inverse = distinct(task)
    if len(tasks) > _MOST_TASKS:
        weight = np.bincount(inverse, samples.weight)
        kept = tasks[np.argsort(-weight, kind="stable")[:_MOST_TASKS]]
        task = np.where(np.isin(task, kept), task, -1)
    lanes, lane = found.alike(samples.guest, samples.vcpu, found.mode, task + 1)
    names: dict[str, list[str]] = {"guest": [], "vcpu": [], "mode": [], "task": []}
    for guest, vcpu, mode, shifted in zip(*(c.tolist() for c in lanes), strict=True):
        known = profile.guests.get(guest)
        names["guest"].append(printable(known.name) if known else f"guest {guest}")
        names["vcpu"].append(f"vcpu {vcpu}")
        names["mode"].append(Mode(mode).label)
        one = groups[shifted - 1] if shifted else None
        no_task = "no task known" if shifted else "other tasks"
        names["task"].append(one.name if one is not None else no_task)
    return lane, names


def _heat(
    profile: Profile,
    found: Traces,
    lane: NDArray[np.int64],
    time: NDArray[np.int64],
    length: int,
) -> dict[str, Any]:
    """Weights by column (a second, or several) and slot within it."""
    # The columns begin where the host's clock began a second.
    phase = profile.started_ns % 1_000_000_000
    slot = (time + phase) // _SLOT_NS
    seconds = (length + phase) // 1_000_000_000 + 1
    folded = -(-seconds // _MOST_COLUMNS)
    cell = slot // SLOTS // folded * SLOTS + slot % SLOTS
    (cells, of_lane), _, weight = found.merged(cell, lane)
    return {
        "columns": -(-seconds // folded),
        "column_s": folded,
        "slots": SLOTS,
        "phase_s": phase / 1e9,
        "cell": _column(cells),
        "lane": _column(of_lane),
        "weight": _column(weight),
    }


def _numbered(key: str, values: list[str]) -> dict[str, Any]:
    """A column of texts as numbers, and the distinct texts under the plural of its name."""
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    column = np.array([numbers[value] for value in values], np.int64)
    return {key: _column(column), f"{key}s": list(numbers)}


def _column(values: NDArray[np.int64]) -> dict[str, Any]:
    """Numbers as the little-endian bytes of the smallest type that holds them."""
    size = next(size for size in (1, 2, 4, 8) if int(values.max(initial=0)) < 1 << 8 * size)
    kind = np.dtype(f"<u{size}") if size < 8 else np.dtype("<f8")  # no typed array has u8
    return {"size": size, "base64": b64encode(values.astype(kind).tobytes()).decode()}
