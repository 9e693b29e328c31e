"""The call tree of a profile, from the root to the leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

import numpy as np

from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.sampling.source import Mode
from symbols.names import printable
from symbols.space import ImageKind


class NodeKind(StrEnum):
    """What code a node of the tree stands for."""

    ROOT = "all"
    KERNEL = "kernel"
    MODULE = "module"
    USER = "user"
    IDLE = "idle"
    FIRMWARE = "firmware"
    UNKNOWN = "unknown"


_BY_IMAGE = {
    ImageKind.KERNEL: NodeKind.KERNEL,
    ImageKind.GENERATED: NodeKind.KERNEL,
    ImageKind.MODULE: NodeKind.MODULE,
    ImageKind.FIRMWARE: NodeKind.FIRMWARE,
    ImageKind.USER: NodeKind.USER,
    None: NodeKind.UNKNOWN,
}
_BY_MODE = {
    Mode.KERNEL: NodeKind.KERNEL,
    Mode.USER: NodeKind.USER,
    Mode.IDLE: NodeKind.IDLE,
    Mode.FIRMWARE: NodeKind.FIRMWARE,
    Mode.HYPERVISOR: NodeKind.UNKNOWN,
    Mode.UNKNOWN: NodeKind.UNKNOWN,
}


class Node:
    """A function called along one path, or a group of them.

    Attributes:
        name: the function, or what stands for it.
        module: its image; empty for groups.
        kind: what code it is.
        own: weight of the samples that end here.
        total: weight of the samples that pass or end here.
    """

    __slots__ = ("_children", "_in_order", "kind", "module", "name", "own", "total")

    def __init__(self, name: str, module: str, kind: NodeKind) -> None:
        self.name = name
        self.module = module
        self.kind = kind
        self.own = 0
        self.total = 0
        self._children: dict[tuple[str, str, NodeKind], Node] = {}
        self._in_order: list[Node] | None = None

    def child(self, name: str, module: str, kind: NodeKind) -> Node:
        """The child of that name, made where it is missing."""
        key = (name, module, kind)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = Node(*key)
        return found

    def branch(self, key: tuple[str, str, NodeKind]) -> Node | None:
        """The child of that name, module and kind, if it is there."""
        return self._children.get(key)

    def branches(self) -> Iterable[Node]:
        """The children in no order that means anything."""
        return self._children.values()

    def children(self) -> list[Node]:
        """By falling weight, then name: the same order for the same profile."""
        if self._in_order is not None:
            return self._in_order
        return sorted(self._children.values(), key=lambda n: (-n.total, n.name, n.module, n.kind))

    def settle(self) -> None:
        """Put all children below this in their order for good, once nothing is added any more.

        A screen asks for them again and again, and some nodes have fifty thousand.
        """
        waiting = [self]
        while waiting:
            node = waiting.pop()
            node.put_in_order()
            waiting += node.branches()

    def put_in_order(self) -> None:
        """See `settle`; of this node alone."""
        self._in_order = self.children()

    def walk(self) -> Iterator[tuple[tuple[Node, ...], Node]]:
        """Every node with those above it, root first, in an order that never changes."""
        waiting: list[tuple[tuple[Node, ...], Node]] = [((), self)]
        while waiting:
            above, node = waiting.pop()
            yield above, node
            waiting += [((*above, node), child) for child in reversed(node.children())]


class Direction(StrEnum):
    """Which way a tree of calls is read."""

    DOWN = "down"  # from where stacks begin to the leaves
    UP = "up"  # from each leaf to its callers: the inverted tree


def call_tree(
    profile: Profile,
    chosen: Filter = EVERYTHING,
    known: Resolution | None = None,
    *,
    direction: Direction = Direction.DOWN,
    around: str = "",
) -> Node:
    """The tree of everything that was sampled.

    Where stacks were taken it is the tree of calls, and a sample without one is a stack of one
    frame. Where there are none at all, its levels are mode, module and symbol. Of several guests
    each has its own first level.

    Args:
        profile: what was sampled.
        chosen: which samples count.
        known: keeps looked-up addresses between calls; see `Resolution`.
        direction: UP begins with the leaves.
        around: the name of a function: only stacks that have it count, from it on. DOWN then
            gives what it calls, UP who calls it. Where it calls itself the outermost counts
            for DOWN and the innermost for UP, so that no sample is counted twice.
    """
    known = known or Resolution()
    placement = known.of(profile)
    keep = chosen.mask(profile.samples, placement, known)
    stacked = bool((placement.path >= 0).any())
    samples, placement = profile.samples.select(keep), placement.select(keep)
    root = Node("all", "", NodeKind.ROOT)
    # Everything below is done once for all samples that are alike.
    with_stack = placement.path >= 0
    alike = np.where(with_stack, placement.path, placement.own).astype(np.int64)
    key = ((alike << 8) | placement.mode) << 1 | with_stack
    distinct, inverse = np.unique(key, return_inverse=True)
    weights = np.bincount(inverse, samples.weight, len(distinct)).astype(np.int64)
    for packed, weight in zip(distinct.tolist(), weights.tolist(), strict=True):
        number, mode = packed >> 9, Mode((packed >> 1) & 0xFF)
        frames = placement.frames[number][::-1] if packed & 1 else (number,)
        places = [placement.places[frame] for frame in frames]
        if direction is Direction.UP:
            places.reverse()
        if around:
            first = next((i for i, place in enumerate(places) if place.name == around), None)
            if first is None:
                continue
            places = places[first:]
        line: Iterable[tuple[str, str, NodeKind]]
        if stacked or around:
            line = [(place.name, place.module, kind_of(place)) for place in places]
        else:
            line = _grouped(places[0], mode)
        if len(profile.guests) > 1:
            guest = profile.guests.get(places[0].guest)
            name = printable(guest.name) if guest else f"guest {places[0].guest}"
            line = [(name, "", NodeKind.ROOT), *line]
        node = root
        node.total += weight
        for step in line:
            node = node.child(*step)
            node.total += weight
        node.own += weight
    return root


def inverted(tree: Node) -> Node:
    """The same samples from the leaves up: the first level is what ran, above it who called it.

    A node's own weight is that of the stacks whose outermost function it is.
    """
    root = Node(tree.name, tree.module, tree.kind)
    root.total = tree.total
    root.own = tree.own
    for above, node in tree.walk():
        if not node.own or not above:
            continue
        turned = root
        for step in (node, *above[:0:-1]):
            turned = turned.child(step.name, step.module, step.kind)
            turned.total += node.own
        turned.own += node.own
    return root


def kind_of(place: Place) -> NodeKind:
    """What code a place is."""
    return NodeKind.IDLE if place.idle else _BY_IMAGE[place.kind]


def _grouped(place: Place, mode: Mode) -> list[tuple[str, str, NodeKind]]:
    """Mode, module and symbol; user space has nothing below its module."""
    kind = NodeKind.IDLE if mode is Mode.IDLE else kind_of(place)
    line = [(mode.label, "", _BY_MODE[mode]), (place.module, "", kind)]
    if place.name != place.module:
        line.append((place.name, place.module, kind))
    return line
