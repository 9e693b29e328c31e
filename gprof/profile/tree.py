"""The call tree of a profile, from the root to the leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from gprof.profile.counting import MODES
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.sampling.numbering import distinct
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


#: Name, module and kind of a node.
Step: TypeAlias = tuple[str, str, NodeKind]


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
        self._children: dict[Step, Node] = {}
        self._in_order: list[Node] | None = None

    def child(self, name: str, module: str, kind: NodeKind) -> Node:
        """The child of that name, made where it is missing."""
        key = (name, module, kind)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = Node(*key)
        return found

    def branch(self, key: Step) -> Node | None:
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
    root = Node("all", "", NodeKind.ROOT)
    lines = stack_lines(profile, chosen, known, direction=direction, grouped=not around)
    for guest, line, weight in lines:
        first = 0
        if around:
            first = next((i for i, (name, _, _) in enumerate(line) if name == around), -1)
            if first < 0:
                continue
        node = root
        node.total += weight
        for step in (*guest, *line[first:]):
            node = node.child(*step)
            node.total += weight
        node.own += weight
    return root


def stack_lines(
    profile: Profile,
    chosen: Filter = EVERYTHING,
    known: Resolution | None = None,
    *,
    direction: Direction = Direction.DOWN,
    grouped: bool = True,
) -> Iterator[tuple[Sequence[Step], Sequence[Step], int]]:
    """Its guest, where there are several; each distinct stack that counts; the weight of both.

    Two may read alike: functions of one name are several.

    Args:
        profile: what was sampled.
        chosen: which samples count.
        known: keeps looked-up addresses between calls; see `Resolution`.
        direction: DOWN begins with the root, UP with the leaf.
        grouped: where no stacks were taken give mode, module and symbol in their place.
    """
    known = known or Resolution()
    placement = known.of(profile)
    keep = chosen.mask(profile.samples, placement, known)
    grouped = grouped and not (placement.path >= 0).any()
    weight, placement = profile.samples.weight[keep], placement.select(keep)
    guests: dict[int, Sequence[Step]] = {}
    if len(profile.guests) > 1:
        for number in {place.guest for place in placement.places}:
            guest = profile.guests.get(number)
            name = printable(guest.name) if guest else f"guest {number}"
            guests[number] = [(name, "", NodeKind.ROOT)]
    steps = [(place.name, place.module, kind_of(place)) for place in placement.places]
    # Everything below is done once for all samples that are alike.
    with_stack = placement.path >= 0
    alike = np.where(with_stack, placement.path, placement.own).astype(np.int64)
    key = (alike * MODES + (placement.mode if grouped else 0)) * 2 + with_stack
    found, inverse = distinct(key)
    weights = np.bincount(inverse, weight, len(found)).astype(np.int64)
    for packed, one_weight in zip(found.tolist(), weights.tolist(), strict=True):
        number, stacked = packed // (2 * MODES), packed & 1
        frames = placement.frames[number] if stacked else (number,)
        place = placement.places[frames[-1]]
        if grouped:
            line = _grouped(place, Mode(packed // 2 % MODES))
        else:
            line = [steps[frame] for frame in frames]
            if direction is Direction.DOWN:
                line.reverse()
        yield guests.get(place.guest, ()), line, one_weight


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


def _grouped(place: Place, mode: Mode) -> list[Step]:
    """Mode, module and symbol; user space has nothing below its module."""
    kind = NodeKind.IDLE if mode is Mode.IDLE else kind_of(place)
    line = [(mode.label, "", _BY_MODE[mode]), (place.module, "", kind)]
    if place.name != place.module:
        line.append((place.name, place.module, kind))
    return line
