"""The call tree of a profile, from the root to the leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from gprof.profile.counting import MODES
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place, Placement
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.trie import Trie, Weighed
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


#: Name, module and kind: what makes a node the same one in another tree.
NodeKey: TypeAlias = tuple[str, str, NodeKind]

#: Children that are put in order by Python; more are by numpy.
_FEW = 64


class Node:
    """A function called along one path, or a group of them.

    Nodes are made when they are asked for: of fifty thousand a screen shows fifty.

    Attributes:
        name: the function, or what stands for it.
        module: its image; empty for groups.
        kind: what code it is.
        own: weight of the samples that end here.
        total: weight of the samples that pass or end here.
    """

    __slots__ = ("_at", "_made", "_order", "_tree", "kind", "module", "name", "own", "total")

    def __init__(self, key: NodeKey, own: int, total: int) -> None:
        self.name, self.module, self.kind = key
        self.own = own
        self.total = total
        self._tree: Weighed[NodeKey] | None = None
        self._at = 0
        self._made: dict[int, Node] = {}
        self._order: list[Node] | NDArray[np.int64] | None = None

    @classmethod
    def root(cls, tree: Weighed[NodeKey]) -> Node:
        """Where a tree begins."""
        node = cls(("all", "", NodeKind.ROOT), int(tree.own[0]), int(tree.total[0]))
        node._tree = tree
        return node

    @property
    def key(self) -> NodeKey:
        """What makes it the same node in another tree."""
        return self.name, self.module, self.kind

    @property
    def width(self) -> int:
        """How many children it has."""
        return len(self._below)

    @property
    def own_of_branches(self) -> int:
        """Weight of the samples that end in a child itself."""
        below, tree = self._below, self._tree
        if isinstance(below, list) or tree is None:
            return sum(node.own for node in below)
        return int(tree.own[below].sum())

    def branch(self, key: NodeKey) -> Node | None:
        """The child of that name, module and kind, if it is there."""
        found = self._tree.find(self._at, key) if self._tree is not None else None
        return self._node(found) if found is not None else None

    def branches(self) -> Iterator[Node]:
        """The children by falling weight, then name: the same order for the same profile."""
        below, tree = self._below, self._tree
        if isinstance(below, list) or tree is None:
            yield from below
            return
        keys, weights = tree.trie.keys, -tree.total[below]
        first = 0
        while first < len(below):
            last = int(np.searchsorted(weights, weights[first], side="right"))
            alike = below[first:last].tolist()
            yield from map(self._node, sorted(alike, key=lambda at: keys[tree.key[at]]))
            first = last

    def children(self) -> list[Node]:
        """All of `branches`."""
        return list(self.branches())

    def matching(self, matches: Callable[[NodeKey], bool]) -> tuple[int, int]:
        """How many nodes of the whole tree match, and the weight of the samples below any.

        Each sample counts once, and the root does not.
        """
        return self._tree.matching(matches) if self._tree is not None else (0, 0)

    def walk(self) -> Iterator[tuple[tuple[Node, ...], Node]]:
        """Every node with those above it, root first, in an order that never changes."""
        waiting: list[tuple[tuple[Node, ...], Node]] = [((), self)]
        while waiting:
            above, node = waiting.pop()
            yield above, node
            waiting += [((*above, node), child) for child in reversed(node.children())]

    def lines(self) -> Iterator[tuple[list[NodeKey], int]]:
        """The keys from the root, without it, to each node of the whole tree that has own weight.

        Makes no nodes, and has no order that means anything.
        """
        return self._tree.lines() if self._tree is not None else iter(())

    @property
    def _below(self) -> list[Node] | NDArray[np.int64]:
        """The children in their order; the numbers of many by their weights alone."""
        if self._order is None:
            found = self._tree.below(self._at) if self._tree is not None else []
            if self._tree is not None and not isinstance(found, list) and len(found) > _FEW:
                self._order = found[np.argsort(-self._tree.total[found], kind="stable")]
            else:
                nodes = [self._node(int(at)) for at in found]
                self._order = sorted(nodes, key=lambda node: (-node.total, *node.key))
        return self._order

    def _node(self, at: int) -> Node:
        found = self._made.get(at)
        if found is None:
            tree = self._tree
            assert tree is not None
            key = tree.trie.keys[tree.key[at]]
            found = self._made[at] = Node(key, int(tree.own[at]), int(tree.total[at]))
            found._tree, found._at, found._made = tree, at, self._made
        return found


def tree_of(lines: Iterable[tuple[Iterable[NodeKey], int]]) -> Node:
    """A tree of lines of nodes, from the root on, with their weights."""
    trie: Trie[NodeKey] = Trie()
    ends, weights = [0], [0]
    for line, weight in lines:
        ends.append(trie.end(line))
        weights.append(weight)
    return Node.root(trie.weighed(np.array(ends), np.array(weights)))


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
    alike = chosen.counted(profile, known)
    guests = profile.guests if len(profile.guests) > 1 else {}
    shape = (
        direction,
        around,
        bool(alike.placement.frames or around),
        tuple((number, printable(guest.name)) for number, guest in sorted(guests.items())),
    )
    lines = known.kept(shape, lambda: _Lines(*shape))
    ends = lines.ends(alike.placement)
    counts = ends >= 0
    return Node.root(lines.trie.weighed(ends[counts], alike.weight[counts]))


def inverted(tree: Node) -> Node:
    """The same samples from the leaves up: the first level is what ran, above it who called it.

    A node's own weight is that of the stacks whose outermost function it is.
    """
    return tree_of(
        ([step.key for step in (node, *above[:0:-1])] if above else (), node.own)
        for above, node in tree.walk()
        if node.own
    )


class _Lines:
    """Where in a tree the samples of each path end, and of each place where they have no path.

    Args:
        direction: of the tree.
        around: see `call_tree`.
        stacked: the levels are functions; else mode, module and symbol.
        guests: their names, where the first level is of guests.
    """

    #: Of what was not looked at yet, and of what does not count.
    _NEW, _NOWHERE = -2, -1

    def __init__(
        self,
        direction: Direction,
        around: str,
        stacked: bool,
        guests: tuple[tuple[int, str], ...],
    ) -> None:
        self.trie: Trie[NodeKey] = Trie()
        self._up = direction is Direction.UP
        self._around = around
        self._stacked = stacked
        self._guests = dict(guests)
        self._of_place = np.empty(0, np.int32)  # by place * MODES + mode
        self._of_path = np.empty(0, np.int32)

    def ends(self, placement: Placement) -> NDArray[np.int32]:
        """The node where each sample ends; negative where it does not count."""
        places, frames = placement.places, placement.frames
        self._of_place = _padded(self._of_place, len(places) * MODES, self._NEW)
        self._of_path = _padded(self._of_path, len(frames), self._NEW)
        with_stack = placement.path >= 0
        alone = placement.own.astype(np.int64) * MODES + placement.mode
        ends = np.empty(len(alone), np.int32)
        for mask, column, known in (
            (with_stack, placement.path, self._of_path),
            (~with_stack, alone, self._of_place),
        ):
            numbers = column[mask]
            for number in np.unique(numbers[known[numbers] == self._NEW]).tolist():
                if known is self._of_path:
                    line, mode = [places[frame] for frame in frames[number]], Mode.UNKNOWN
                else:
                    line, mode = [places[number // MODES]], Mode(number % MODES)
                known[number] = self._end(line, mode)
            ends[mask] = known[numbers]
        return ends

    def _end(self, places: list[Place], mode: Mode) -> int:
        """The node where a stack ends, which is given leaf first."""
        if not self._up:
            places.reverse()
        if self._around:
            first = next((i for i, p in enumerate(places) if p.name == self._around), None)
            if first is None:
                return self._NOWHERE
            places = places[first:]
        if self._stacked:
            line = [(place.name, place.module, kind_of(place)) for place in places]
        else:
            line = _grouped(places[0], mode)
        if self._guests:
            number = places[0].guest
            name = self._guests.get(number, f"guest {number}")
            line.insert(0, (name, "", NodeKind.ROOT))
        return self.trie.end(line)


def _padded(column: NDArray[np.int32], length: int, value: int) -> NDArray[np.int32]:
    return np.pad(column, (0, length - len(column)), constant_values=value)


def kind_of(place: Place) -> NodeKind:
    """What code a place is."""
    return NodeKind.IDLE if place.idle else _BY_IMAGE[place.kind]


def _grouped(place: Place, mode: Mode) -> list[NodeKey]:
    """Mode, module and symbol; user space has nothing below its module."""
    kind = NodeKind.IDLE if mode is Mode.IDLE else kind_of(place)
    line = [(mode.label, "", _BY_MODE[mode]), (place.module, "", kind)]
    if place.name != place.module:
        line.append((place.name, place.module, kind))
    return line
