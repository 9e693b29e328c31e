"""Looking up the addresses of a profile, each distinct one once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import PAGE_BITS, WHOLE, Place, Placement, function, nameless
from gprof.profile.profile import Profile
from gprof.profile.tasks import TaskTable
from gprof.sampling.numbering import AT_ONCE, Numbering, ascending
from gprof.sampling.source import Int64s, Mode, SampleBatch, UInt64s
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason, Running

#: Modes as shown; a number that a later version may add is shown as unknown.
_SHOWN_MODE = np.array([mode if mode <= max(Mode) else Mode.UNKNOWN for mode in range(256)], "u1")
#: How a processor ran the code of a sample in each mode; an idle one waits in a kernel.
_RUNNING = np.full(256, Running.UNKNOWN, "u1")
_RUNNING[[Mode.KERNEL, Mode.USER, Mode.IDLE, Mode.FIRMWARE]] = (
    Running.PRIVILEGED,
    Running.USER,
    Running.PRIVILEGED,
    Running.BARE,
)
#: A context is what the meaning of an address depends on: the layout of its user space, where
#: that counts, the guest, its era, how the processor ran; each shifted left by so much.
_LAYOUT, _GUEST, _ERA = 32, 16, 2
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
        self.tasks = profile.tasks
        if self._known is None or not self._known.leads_to(profile):
            self._known = _Lineage(profile)
        return self._known.extended(profile)

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
        self._idle = np.empty(0, bool)  # by place
        # Of each sample.
        self._own = np.empty(0, np.int32)
        self._mode = np.empty(0, np.uint8)
        self._path = np.empty(0, np.int32)
        self._leaf = np.zeros(1, np.uint64)  # by stack id
        self._paths: dict[int, Numbering] = {}  # by context; of stack ids
        self._path_of_stack: dict[int, NDArray[np.int32]] = {}  # by context, as _place_of_pc
        self._frames: list[tuple[int, ...]] = []  # by path
        self._pairs = np.empty(0, np.int64)  # path << 32 | place
        # By pattern and where it is looked for: whether it is in each place.
        self._matched: dict[tuple[re.Pattern[str], bool, bool], list[bool]] = {}

    def leads_to(self, profile: Profile) -> bool:
        """Whether the profile begins with the samples of the last one, in the same spaces."""
        known = len(self._samples)
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
                    np.array_equal(
                        getattr(profile.samples, column)[:known], getattr(self._samples, column)
                    )
                    for column in ("pc", "guest", "stack", "task", "mode")
                )
            )
        )

    def extended(self, profile: Profile) -> Placement:
        """All samples of a profile that this leads to."""
        changes = profile.user_spaces.changes
        same = profile.samples is self._samples and changes == self._changes
        if self._placement is not None and same:
            return self._placement
        self._extend(profile, spaces_changed=changes != self._changes)
        self._changes = changes
        self._placement = Placement(
            tuple(self._places),
            self._own,
            self._mode,
            self._path,
            tuple(self._frames),
            (self._pairs >> 32).astype(np.int32),
            (self._pairs & 0xFFFFFFFF).astype(np.int32),
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

    def _extend(self, profile: Profile, *, spaces_changed: bool) -> None:
        """Number and look up what is new since the last call.

        Args:
            profile: what this leads to.
            spaces_changed: processes were read meanwhile: their samples mean something else.
        """
        known, length = len(self._samples), len(profile.samples)
        leaves = [frames[0] for _, frames in profile.stacks.since(len(self._leaf))]
        self._leaf = np.concatenate([self._leaf, np.array(leaves, np.uint64)])
        self._own, self._mode, self._path = (
            _longer(column, length) for column in (self._own, self._mode, self._path)
        )
        layout_of = _layouts(profile)
        for first in range(0 if spaces_changed else known, length, AT_ONCE):
            end = min(first + AT_ONCE, length)
            before = max(min(known, end) - first, 0)
            self._place(profile, slice(first, end), before, layout_of)
        self._samples = profile.samples

    def _place(self, profile: Profile, rows: slice, known: int, layout_of: Int64s) -> None:
        """Look some samples up; of the first `known` those in user space."""
        samples = profile.samples.select(rows)
        contexts = _contexts(profile, samples, layout_of)
        own, path, mode = self._own[rows], self._path[rows], self._mode[rows]
        left = np.arange(len(own))
        if known:
            left = left[(left >= known) | (samples.mode == Mode.USER)]
        path[left] = -1
        while len(left):
            context = int(contexts[left[0]])
            alike = contexts[left] == context
            here, left = left[alike], left[~alike]
            own[here] = self._places_of(profile, context, samples.pc[here])
            if len(self._leaf) == 1:
                continue
            stack = samples.stack[here]
            has = here[(stack > 0) & (stack < len(self._leaf))]
            # A stack's leaf is its sample's pc. Where a file says otherwise it is not its own.
            has = has[self._leaf[samples.stack[has]] == samples.pc[has]]
            path[has] = self._paths_of(profile, context, samples.stack[has].astype(np.uint64))
        if len(self._idle) < len(self._places):
            idle = [place.idle for place in self._places[len(self._idle) :]]
            self._idle = np.concatenate([self._idle, np.array(idle, bool)])
        mode[:] = _SHOWN_MODE[samples.mode]
        mode[(mode == Mode.KERNEL) & self._idle[own]] = Mode.IDLE

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
        layout, guest, era, running = _parts(context)
        space = profile.space(guest).eras[era]
        if layout:
            space = profile.user_spaces.layouts[layout]
        resolved = space.resolve(pcs, running)
        if layout:
            resolved.reason[resolved.reason == Reason.NO_SYMBOLS] = Reason.USER_PROGRAM
        detail = np.where(
            resolved.reason == Reason.RESOLVED,
            resolved.symbol,
            (resolved.offset >> np.uint64(PAGE_BITS)).astype(np.int64),
        )
        detail[np.isin(resolved.reason, list(WHOLE))] = 0
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
        # How the processor ran the callers is not known: a stack may begin in user space.
        _, guest, era, _ = _parts(context)
        of_callers = guest << _GUEST | era << _ERA | Running.UNKNOWN
        places[is_caller] = self._places_of(profile, of_callers, pcs[is_caller])
        packed = np.repeat(np.arange(len(depth)) + len(self._frames), depth) << 32 | places
        self._pairs = np.concatenate([self._pairs, ascending(packed)])
        ends = np.cumsum(depth).tolist()
        flat = places.tolist()
        starts = [0, *ends[:-1]]
        self._frames += [tuple(flat[start:end]) for start, end in zip(starts, ends, strict=True)]


def _longer(column: NDArray[Any], length: int) -> NDArray[Any]:
    """A copy with room for more: what was given out stays as it is."""
    longer = np.empty(length, column.dtype)
    longer[: len(column)] = column
    return longer


def _known_eras(space: AddressSpace) -> list[tuple[AddressSpace, int, int]]:
    """What the meaning of addresses in a space depends on."""
    return [(era, era.since_ns, len(era.images)) for era in space.eras]


def _layouts(profile: Profile) -> Int64s:
    """By id of a task the layout of its user space; 0 where that was not read."""
    layouts = profile.user_spaces.layouts_of()
    space_of = profile.tasks.spaces()
    space_of[space_of >= len(layouts)] = 0
    layout_of: Int64s = layouts[space_of]
    return layout_of


def _contexts(profile: Profile, samples: SampleBatch, layout_of: Int64s) -> Int64s:
    """The context of each sample.

    The layout is that of its process in user mode, where that was read; else 0.
    """
    context = samples.guest.astype(np.int64) << _GUEST
    for number, space in profile.spaces.items():
        if space.earlier:
            ours = samples.guest == number
            context[ours] |= space.era_at(samples.time[ours]) << _ERA
    context |= _RUNNING[samples.mode]
    if layout_of.any():
        user = samples.mode == Mode.USER
        task = samples.task[user]
        context[user] |= layout_of[np.where(task < len(layout_of), task, 0)] << _LAYOUT
    return context


def _parts(context: int) -> tuple[int, int, int, Running]:
    """Layout, guest, era and manner of running of a context."""
    return (
        context >> _LAYOUT,
        context >> _GUEST & 0xFFFF,
        context >> _ERA & (1 << _GUEST - _ERA) - 1,
        Running(context & (1 << _ERA) - 1),
    )


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
