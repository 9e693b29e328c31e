"""Looking up the addresses of a profile, each distinct one once."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gprof.profile.alike import Alike, Tally
from gprof.profile.contexts import Contexts, of_callers, parts, space_of
from gprof.profile.growing import Growing, begins_with
from gprof.profile.places import PAGE_BITS, WHOLE, Place, Placement, function, nameless
from gprof.profile.profile import Profile
from gprof.profile.tasks import TaskTable
from gprof.sampling.numbering import AT_ONCE, Numbering, ascending
from gprof.sampling.source import Mode, SampleBatch, UInt64s
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason

T = TypeVar("T")

#: Modes as shown; a number that a later version may add is shown as unknown.
_SHOWN_MODE = np.array([mode if mode <= max(Mode) else Mode.UNKNOWN for mode in range(256)], "u1")
#: Patterns whose matches are kept.
_PATTERNS = 16


class Resolution:
    """Keeps what was looked up, for a profile that is looked at again as it grows.

    One thread at a time. A screen keeps one and passes it to every `tabulate`; then only new
    addresses and stacks cost time. It starts over by itself when it is given another profile,
    or when a guest's space was replaced, has a new era or has loaded an image. An image that is
    unloaded keeps its name for the samples that were taken while it was there.

    Attributes:
        tasks: of the last profile.
    """

    def __init__(self) -> None:
        self.tasks = TaskTable()
        self._known: _Lineage | None = None

    def of(self, profile: Profile) -> Placement:
        """The profile's samples with their addresses looked up."""
        return self._lineage(profile).extended(profile)

    def alike(self, profile: Profile) -> Alike:
        """The profile's samples added up as far as they are alike, with their addresses looked up.

        They are added up as they come; but see `Alike.among` for weights that are others each
        time, as under decay.
        """
        return self._lineage(profile).alike(profile)

    def matches(
        self, pattern: re.Pattern[str], *, symbol: bool = True, module: bool = True
    ) -> NDArray[np.bool_]:
        """For each place of the last placement, whether the pattern is in its name or module.

        Args:
            pattern: what to look for.
            symbol: look in its name.
            module: look in its module.
        """
        if self._known is None:
            return np.empty(0, bool)
        return self._known.matches(pattern, symbol=symbol, module=module)

    def contexts(self, profile: Profile) -> Contexts:
        """What the meaning of the profile's addresses depends on."""
        lineage = self._lineage(profile)
        lineage.extended(profile)
        return lineage.contexts

    def kept(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made of the places and paths of the last profile, and is forgotten with them.

        Args:
            key: what it is.
            make: makes it, for the first time.
        """
        if self._known is None:
            return make()
        if key not in self._known.kept:
            self._known.kept[key] = make()
        found: T = self._known.kept[key]
        return found

    def _lineage(self, profile: Profile) -> _Lineage:
        self.tasks = profile.tasks
        if self._known is None or not self._known.leads_to(profile):
            self._known = _Lineage(profile)
        return self._known


class _Lineage:
    """What was looked up for a profile and those that it grew from."""

    def __init__(self, first: Profile) -> None:
        self._samples = SampleBatch.empty()
        self._placement: Placement | None = None  # of those samples
        self._changes = 0  # of user spaces, when they were looked at
        self._stacks = first.stacks
        self._spaces = {guest: _known_eras(space) for guest, space in first.spaces.items()}
        self._places: list[Place] = []
        self._place_by_key: dict[tuple[object, ...], int] = {}
        # By context.
        self._pcs: dict[int, Numbering] = {}
        self._place_of_pc: dict[int, NDArray[np.int32]] = {}  # in the order of _pcs
        self._user_spaces = first.user_spaces
        self.contexts = Contexts.unread()
        # Of each sample.
        self._own: Growing[np.int32] = Growing(np.int32)
        self._path: Growing[np.int32] = Growing(np.int32)
        self._mode: Growing[np.uint8] = Growing(np.uint8)
        self._tally = Tally()
        # Of each place.
        self._idle: Growing[np.bool_] = Growing(np.bool_)
        self._nameless: Growing[np.int32] = Growing(np.int32)  # those without a symbol
        self._leaf: Growing[np.uint64] = Growing(np.uint64)  # by stack id
        self._leaf.append(np.zeros(1, np.uint64))
        self._paths: dict[int, Numbering] = {}  # by context; of stack ids
        self._path_of_stack: dict[int, NDArray[np.int32]] = {}  # by context, as _place_of_pc
        self._frames: list[tuple[int, ...]] = []  # by path
        self._pair_path: Growing[np.int32] = Growing(np.int32)
        self._pair_place: Growing[np.int32] = Growing(np.int32)
        self.kept: dict[Hashable, Any] = {}
        # By pattern and where it is looked for: whether it is in each place.
        self._matched: dict[tuple[re.Pattern[str], bool, bool], list[bool]] = {}

    def leads_to(self, profile: Profile) -> bool:
        """Whether the profile begins with the samples of the last one, in the same spaces."""
        return (
            self._stacks is profile.stacks
            and self._user_spaces is profile.user_spaces
            and self._spaces.keys() == profile.spaces.keys()
            and all(
                eras == _known_eras(profile.spaces[guest]) for guest, eras in self._spaces.items()
            )
            and (
                profile.samples is self._samples  # a screen asks twice for one look
                or all(
                    begins_with(getattr(profile.samples, column), getattr(self._samples, column))
                    for column in ("time", "pc", "guest", "stack", "task", "mode")
                )
            )
        )

    def extended(self, profile: Profile) -> Placement:
        """All samples of a profile that this leads to."""
        changes = profile.user_spaces.changes
        same = profile.samples is self._samples and changes == self._changes
        if self._placement is not None and same:
            return self._placement
        self._changes = changes
        self._extend(profile)
        return self._placed()

    def alike(self, profile: Profile) -> Alike:
        """See `Resolution.alike`."""
        placement = self.extended(profile)
        if not self._tally.leads_to(profile.samples):
            return Alike.among(profile.samples, placement)
        self._tally.follow(profile.samples, placement)
        return self._tally.alike(placement)

    def _placed(self) -> Placement:
        self._placement = Placement(
            tuple(self._places),
            self._own.values,
            self._mode.values,
            self._path.values,
            tuple(self._frames),
            self._pair_path.values,
            self._pair_place.values,
            self._nameless.values,
        )
        return self._placement

    def matches(self, pattern: re.Pattern[str], *, symbol: bool, module: bool) -> NDArray[np.bool_]:
        """See `Resolution.matches`."""
        key = (pattern, symbol, module)
        # The latest come last; while one is typed, each letter makes another.
        matched = self._matched[key] = self._matched.pop(key, [])
        while len(self._matched) > _PATTERNS:
            del self._matched[next(iter(self._matched))]
        matched += [
            bool(
                (symbol and pattern.search(place.name)) or (module and pattern.search(place.module))
            )
            for place in self._places[len(matched) :]
        ]
        return np.array(matched, bool)

    def _extend(self, profile: Profile) -> None:
        """Number and look up what is new since the last call, a piece at a time."""
        leaves = [frames[0] for _, frames in profile.stacks.since(len(self._leaf))]
        self._leaf.append(np.array(leaves, np.uint64))
        before, self.contexts = self.contexts, Contexts.now(profile)
        # Those first whose process was read meanwhile.
        moved = self.contexts.moved(before, self._samples)
        if len(moved):
            self._move(profile, moved)
        known, length = len(self._samples), len(profile.samples)
        for column in (self._own, self._path, self._mode):
            column.reserve(length)
        for first in range(known, length, AT_ONCE):
            samples = profile.samples.select(slice(first, first + AT_ONCE))
            own, path = self._look_up_samples(profile, samples)
            mode = _SHOWN_MODE[samples.mode]
            mode[(mode == Mode.KERNEL) & self._idle.values[own]] = Mode.IDLE
            self._own.append(own)
            self._path.append(path)
            self._mode.append(mode)
        self._samples = profile.samples

    def _move(self, profile: Profile, moved: NDArray[np.intp]) -> None:
        """Look up samples again that mean something else now."""
        self._tally.take_back(moved, self._placed())
        samples = self._samples.select(moved)
        own, path = np.empty(len(moved), np.int32), np.empty(len(moved), np.int32)
        for first in range(0, len(moved), AT_ONCE):
            rows = slice(first, first + AT_ONCE)
            own[rows], path[rows] = self._look_up_samples(profile, samples.select(rows))
        self._own.put(moved, own)
        self._path.put(moved, path)
        self._tally.put_back(moved, self._placed())

    def _look_up_samples(
        self, profile: Profile, samples: SampleBatch
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The place and the path of some samples."""
        contexts, leaf = self.contexts.of(profile, samples), self._leaf.values
        own, path = np.zeros(len(samples), np.int32), np.full(len(samples), -1, np.int32)
        left = np.arange(len(samples))
        while len(left):
            context = int(contexts[left[0]])
            alike = contexts[left] == context
            here, left = left[alike], left[~alike]
            own[here] = self._places_of(profile, context, samples.pc[here])
            if len(leaf) == 1:
                continue
            stack = samples.stack[here]
            has = here[(stack > 0) & (stack < len(leaf))]
            # A stack's leaf is its sample's pc. Where a file says otherwise it is not its own.
            has = has[leaf[samples.stack[has]] == samples.pc[has]]
            path[has] = self._paths_of(profile, context, samples.stack[has].astype(np.uint64))
        known, places = len(self._idle), self._places[len(self._idle) :]
        self._idle.append(np.array([place.idle for place in places], bool))
        nameless = [i for i, p in enumerate(places, known) if p.reason is not Reason.RESOLVED]
        self._nameless.append(np.array(nameless, np.int32))
        return own, path

    def _places_of(self, profile: Profile, context: int, pcs: UInt64s) -> NDArray[np.int32]:
        numbering = self._pcs.setdefault(context, Numbering())
        numbers, fresh = numbering.number(pcs)
        places = self._place_of_pc.get(context, np.empty(0, np.int32))
        if len(fresh):
            looked_up = self._look_up(profile, context, fresh)
            places = self._place_of_pc[context] = np.concatenate([places, looked_up])
        found: NDArray[np.int32] = places[numbers]
        return found

    def _look_up(self, profile: Profile, context: int, pcs: UInt64s) -> NDArray[np.int32]:
        """The place of each pc. Places are made for what is distinct: Python is slow."""
        layout, guest, era, running = parts(context)
        space = space_of(profile, context)
        resolved = space.resolve(pcs, running)
        if layout:
            resolved.reason[resolved.reason == Reason.NO_SYMBOLS] = Reason.USER_PROGRAM
        detail = np.where(
            resolved.reason == Reason.RESOLVED,
            resolved.symbol,
            (resolved.offset >> np.uint64(PAGE_BITS)).astype(np.int64),
        )
        detail[np.isin(resolved.reason, list(WHOLE)) & (resolved.image < 0)] = 0
        order = np.lexsort((detail, resolved.reason, resolved.image))
        columns = (resolved.image[order], resolved.reason[order], detail[order])
        first = np.ones(len(order), bool)
        first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        numbers = np.empty(int(first.sum()), np.int32)
        images = space.images
        lowest = _lowest(images)
        distinct = zip(*(column[first].tolist() for column in columns), strict=True)
        for i, (image, reason, value) in enumerate(distinct):
            loaded = images[image] if image >= 0 else None
            if loaded is not None and reason == Reason.RESOLVED:
                symbol = space.symbol(image, value).symbol
                place = function(guest, loaded, symbol.name, symbol.start, era)
            else:
                place = nameless(guest, loaded, Reason(reason), value, era)
            # In another era the same function of the same image may be elsewhere.
            at = place.address
            identity = None if loaded is None else _identity(loaded)
            key = (guest, reason, place.name, identity, at - lowest.get(identity, 0))
            number = self._place_by_key.setdefault(key, len(self._places))
            if number == len(self._places):
                self._places.append(place)
            numbers[i] = number
        places = np.empty(len(pcs), np.int32)
        places[order] = numbers[np.cumsum(first) - 1]
        return places

    def _paths_of(self, profile: Profile, context: int, stacks: UInt64s) -> NDArray[np.int32]:
        """The path of each stack."""
        numbers, fresh = self._paths.setdefault(context, Numbering()).number(stacks)
        paths = self._path_of_stack.get(context, np.empty(0, np.int32))
        if len(fresh):
            first = len(self._frames)
            self._add_paths(profile, context, [profile.stacks[i] for i in fresh.tolist()])
            added = np.arange(first, len(self._frames), dtype=np.int32)
            paths = self._path_of_stack[context] = np.concatenate([paths, added])
        found: NDArray[np.int32] = paths[numbers]
        return found

    def _add_paths(self, profile: Profile, context: int, stacks: list[tuple[int, ...]]) -> None:
        depth = np.array([len(frames) for frames in stacks], np.int64)
        pcs = np.fromiter(chain.from_iterable(stacks), np.uint64, depth.sum())
        # A call may be the last instruction of its function: the return address is not in it.
        is_caller = np.ones(len(pcs), bool)
        is_caller[np.cumsum(depth) - depth] = False
        pcs -= is_caller & (pcs > 0)
        places = np.empty(len(pcs), np.int32)
        places[~is_caller] = self._places_of(profile, context, pcs[~is_caller])
        places[is_caller] = self._places_of(profile, of_callers(context), pcs[is_caller])
        packed = np.repeat(np.arange(len(depth)) + len(self._frames), depth) << 32 | places
        pairs = ascending(packed)
        self._pair_path.append((pairs >> 32).astype(np.int32))
        self._pair_place.append((pairs & 0xFFFFFFFF).astype(np.int32))
        ends = np.cumsum(depth).tolist()
        flat = places.tolist()
        starts = [0, *ends[:-1]]
        self._frames += [tuple(flat[start:end]) for start, end in zip(starts, ends, strict=True)]


def _known_eras(space: AddressSpace) -> list[tuple[AddressSpace, int, int]]:
    """What the meaning of addresses in a space depends on."""
    return [(era, era.since_ns, len(era.images)) for era in space.eras]


def _identity(image: LoadedImage) -> tuple[str, ImageKind, bytes, str]:
    # Programs of one name may be different files; a kernel's symbols may be of several.
    path = image.path if image.kind is ImageKind.USER else ""
    return image.name, image.kind, image.build_id, path


def _lowest(images: Sequence[LoadedImage]) -> dict[object, int]:
    """Where each image begins; one may be loaded in several pieces."""
    lowest: dict[object, int] = {}
    for image in images:
        identity = _identity(image)
        lowest[identity] = min(lowest.get(identity, image.start), image.start)
    return lowest
