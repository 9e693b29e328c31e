"""Looking up the addresses of a profile, each distinct one once."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from gprof.profile.places import PAGE_BITS, Place, Placement, function, nameless
from gprof.profile.profile import Profile
from gprof.profile.tasks import TaskTable
from gprof.sampling.source import Mode, SampleBatch, UInt64s
from symbols.space import Reason

#: Modes as shown; a number that a later version may add is shown as unknown.
_SHOWN_MODE = np.array([mode if mode <= max(Mode) else Mode.UNKNOWN for mode in range(256)], "u1")
#: Addresses that are made distinct at once, which takes forty bytes for each.
_AT_ONCE = 1 << 19
#: Patterns whose matches are kept.
_PATTERNS = 16


class Numbering:
    """Numbers distinct 64-bit values in the order of first sight."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._number = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._sorted)

    def number(self, values: UInt64s) -> tuple[NDArray[np.int32], UInt64s]:
        """The number of each value, and those that were new, ordered by their number."""
        distinct, inverse = np.unique(values, return_inverse=True)
        at = np.searchsorted(self._sorted, distinct)
        known = np.zeros(len(distinct), bool)
        within = at < len(self._sorted)
        known[within] = self._sorted[at[within]] == distinct[within]
        fresh = distinct[~known]
        numbers = np.empty(len(distinct), np.int32)
        numbers[known] = self._number[at[known]]
        numbers[~known] = np.arange(len(self), len(self) + len(fresh), dtype=np.int32)
        self._sorted = np.insert(self._sorted, at[~known], fresh)
        self._number = np.insert(self._number, at[~known], numbers[~known])
        return numbers[inverse], fresh


class Resolution:
    """Keeps what was looked up, for a profile that is looked at again as it grows.

    One thread at a time. A screen keeps one and passes it to every `tabulate`; then only new
    addresses and stacks cost time. It starts over by itself when it is given another profile,
    or when a guest's space was replaced or has loaded an image. An image that is unloaded keeps
    its name for the samples that were taken while it was there.

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
        self._stacks = first.stacks
        self._spaces = {g: (space, len(space.images)) for g, space in first.spaces.items()}
        self._places: list[Place] = []
        self._place_by_key: dict[tuple[int, int, int, int], int] = {}
        # By layout << 16 | guest: where a process's own mappings count, else layout 0.
        self._pcs: dict[int, Numbering] = {}
        self._place_of_pc: dict[int, NDArray[np.int32]] = {}  # in the order of _pcs
        self._user_spaces = first.user_spaces
        self._where = np.empty(0, np.int64)  # of each sample
        self._own = np.empty(0, np.int32)
        self._leaf = np.zeros(1, np.uint64)  # by stack id
        self._paths = Numbering()  # of guest << 32 | stack
        self._path = np.empty(0, np.int32)
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
                space is profile.spaces[guest] and images == len(space.images)
                for guest, (space, images) in self._spaces.items()
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
        if self._placement is not None and profile.samples is self._samples:
            return self._placement
        self._extend(profile)
        idle = np.array([place.idle for place in self._places] or [False], bool)
        mode = _SHOWN_MODE[profile.samples.mode]
        mode[(mode == Mode.KERNEL) & idle[self._own]] = Mode.IDLE
        self._placement = Placement(
            tuple(self._places),
            self._own,
            mode,
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

    def _extend(self, profile: Profile) -> None:
        """Number and look up what is new since the last call."""
        known = len(self._samples)
        where = _where(profile)
        pc = profile.samples.pc
        own = np.concatenate([self._own, np.zeros(len(pc) - known, np.int32)])
        new = np.ones(len(pc), bool)
        new[:known] = where[:known] != self._where  # their process was read meanwhile
        self._where = where
        for number in np.unique(where[new]).tolist():
            here = np.flatnonzero(new & (where == number))
            for first in range(0, len(here), _AT_ONCE):
                some = here[first : first + _AT_ONCE]
                own[some] = self._places_of(profile, number, pc[some])
        self._own = own
        self._path = np.concatenate([self._path, self._paths_of(profile, known)])
        self._samples = profile.samples

    def _places_of(self, profile: Profile, where: int, pcs: UInt64s) -> NDArray[np.int32]:
        numbering = self._pcs.setdefault(where, Numbering())
        numbers, fresh = numbering.number(pcs)
        places = self._place_of_pc.get(where, np.empty(0, np.int32))
        if len(fresh):
            looked_up = self._look_up(profile, where, fresh)
            places = self._place_of_pc[where] = np.concatenate([places, looked_up])
        found: NDArray[np.int32] = places[numbers]
        return found

    def _look_up(self, profile: Profile, where: int, pcs: UInt64s) -> NDArray[np.int32]:
        """The place of each pc. Places are made for what is distinct: Python is slow."""
        layout, guest = where >> 16, where & 0xFFFF
        space = profile.user_spaces.layouts[layout] if layout else profile.space(guest)
        resolved = space.resolve(pcs)
        if layout:
            resolved.reason[resolved.reason == Reason.NO_SYMBOLS] = Reason.USER_PROGRAM
        detail = np.where(
            resolved.reason == Reason.RESOLVED,
            resolved.symbol,
            (resolved.offset >> np.uint64(PAGE_BITS)).astype(np.int64),
        )
        detail[resolved.reason == Reason.USER_SPACE] = 0
        order = np.lexsort((detail, resolved.reason, resolved.image))
        columns = (resolved.image[order], resolved.reason[order], detail[order])
        first = np.ones(len(order), bool)
        first[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
        numbers = np.empty(int(first.sum()), np.int32)
        images = space.images
        distinct = zip(*(column[first].tolist() for column in columns), strict=True)
        for i, (image, reason, value) in enumerate(distinct):
            # What lies in no image is the same in every process.
            key = (where if image >= 0 else guest, image, reason, value)
            number = self._place_by_key.get(key)
            if number is None:
                number = self._place_by_key[key] = len(self._places)
                loaded = images[image] if image >= 0 else None
                if loaded is not None and reason == Reason.RESOLVED:
                    symbol = space.symbol(image, value).symbol
                    self._places.append(function(guest, loaded, symbol.name, symbol.start))
                else:
                    self._places.append(nameless(guest, loaded, Reason(reason), value))
            numbers[i] = number
        places = np.empty(len(pcs), np.int32)
        places[order] = numbers[np.cumsum(first) - 1]
        return places

    def _paths_of(self, profile: Profile, known: int) -> NDArray[np.int32]:
        """The path of each sample from `known` on."""
        samples = profile.samples
        stack, pc = samples.stack[known:], samples.pc[known:]
        path = np.full(len(stack), -1, np.int32)
        new = [frames[0] for _, frames in profile.stacks.since(len(self._leaf))]
        self._leaf = np.concatenate([self._leaf, np.array(new, np.uint64)])
        has = np.flatnonzero((stack > 0) & (stack < len(self._leaf)))
        # A stack's leaf is its sample's pc. Where a file says otherwise the stack is not its own.
        has = has[self._leaf[stack[has]] == pc[has]]
        key = (samples.guest[known:][has].astype(np.uint64) << np.uint64(32)) | stack[has]
        path[has], fresh = self._paths.number(key)
        # New paths come ordered by guest, then stack.
        for guest in np.unique(fresh >> np.uint64(32)).tolist():
            ours = fresh[fresh >> np.uint64(32) == guest]
            stacks = [profile.stacks[number & 0xFFFFFFFF] for number in ours.tolist()]
            depth = np.array([len(frames) for frames in stacks], np.int64)
            pcs = np.fromiter((pc for frames in stacks for pc in frames), np.uint64, depth.sum())
            # A call may be the last instruction of its function: the return address is not in it.
            is_caller = np.ones(len(pcs), bool)
            is_caller[np.cumsum(depth) - depth] = False
            pcs -= is_caller & (pcs > 0)
            places = self._places_of(profile, guest, pcs)
            packed = np.repeat(np.arange(len(depth)) + len(self._frames), depth) << 32 | places
            self._pairs = np.concatenate([self._pairs, np.unique(packed)])
            ends = np.cumsum(depth).tolist()
            flat = places.tolist()
            starts = [0, *ends[:-1]]
            self._frames += [
                tuple(flat[start:end]) for start, end in zip(starts, ends, strict=True)
            ]
        return path


def _where(profile: Profile) -> NDArray[np.int64]:
    """For each sample what its address belongs to: layout << 16 | guest.

    The layout is that of its process in user mode, where that was read; else 0.
    """
    samples = profile.samples
    where = samples.guest.astype(np.int64)
    layouts = profile.user_spaces.layouts_of()
    if layouts.any():
        task = profile.tasks.known(samples.task)
        space = profile.tasks.spaces()[task]
        space[space >= len(layouts)] = 0
        user = samples.mode == Mode.USER
        where[user] |= layouts[space[user]] << 16
    return where
