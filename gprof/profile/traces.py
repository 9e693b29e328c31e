"""The samples of a profile as numbered threads and stacks, as other profilers want them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place, Placement
from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.sampling.numbering import distinct, one_of_each
from gprof.sampling.source import Mode, SampleBatch, UInt8s
from symbols.names import printable
from symbols.space import LoadedImage, Reason


@dataclass(frozen=True, slots=True)
class Thread:
    """One vcpu, as formats for programs see it: what runs one thing at a time.

    Attributes:
        guest: id of its guest.
        vcpu: its index there.
        guest_name: what people call the guest.
        name: `vcpu 2`, or `web1 vcpu 2` where there are several guests.
        weight: of its samples.
        busy: of its samples that are not idle.
    """

    guest: int
    vcpu: int
    guest_name: str
    name: str
    weight: int
    busy: int


@dataclass(frozen=True, slots=True)
class Traces:
    """Every sample that counts, with numbers for its thread and its stack.

    Attributes:
        samples: those that count, ordered by arrival.
        mode: u8, for each sample its mode as shown.
        thread: i32, for each sample its index in `threads`.
        stack: i32, for each sample its index in `stacks`.
        threads: the busiest first.
        places: what the stacks number.
        stacks: distinct ones, leaf first, as indices into `places`.
        pcs: the addresses of the same frames; empty unless they were asked for.
        stacked: some sample came with a stack.
    """

    samples: SampleBatch
    mode: UInt8s
    thread: NDArray[np.int32]
    stack: NDArray[np.int32]
    threads: tuple[Thread, ...]
    places: tuple[Place, ...]
    stacks: tuple[tuple[int, ...], ...]
    pcs: tuple[tuple[int, ...], ...]
    stacked: bool

    @property
    def weight(self) -> int:
        """Of all samples."""
        return int(self.samples.weight.sum(dtype=np.uint64))

    def merged(
        self, *columns: NDArray[Any]
    ) -> tuple[list[NDArray[np.int64]], NDArray[np.int64], NDArray[np.int64]]:
        """The distinct rows of some columns, the number of their samples, and their weight.

        Args:
            columns: one value a sample, none negative.
        """
        distinct, inverse = self.alike(*columns)
        count = np.bincount(inverse, minlength=len(distinct[0]))
        weight = np.bincount(inverse, self.samples.weight, len(distinct[0])).astype(np.int64)
        return distinct, count, weight

    def alike(self, *columns: NDArray[Any]) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
        """The distinct rows of some columns, and for each sample the number of its row.

        Args:
            columns: at least one, one value a sample, none negative.
        """
        key = np.zeros(len(self.samples), np.int64)
        for column in columns:
            size = int(column.max(initial=0)) + 1
            if (int(key.max(initial=0)) + 1) * size >= 1 << 63:
                # Numbered anew, keys are at most as many as samples.
                _, key = distinct(key)
            key = key * size + column
        found, inverse = distinct(key)
        example = one_of_each(inverse, len(found))
        return [column[example].astype(np.int64) for column in columns], inverse


def traces(profile: Profile, chosen: Filter = EVERYTHING, *, exact: bool = False) -> Traces:
    """Number the threads and stacks of a profile.

    A sample without a stack is a stack of one frame. Where no sample has one, and addresses are
    not asked for, its module stands above it, which gives a flat profile one level of structure.

    Args:
        profile: what was sampled.
        chosen: which samples count.
        exact: tell stacks apart by address and keep the addresses; else by function.
    """
    known = Resolution()
    placement = known.of(profile)
    keep = chosen.mask(profile, known)
    samples, placement = profile.samples.select(keep), placement.select(keep)
    stacked = bool((placement.path >= 0).any())
    numbers, places, stacks = _by_function(placement, above=not exact and not stacked)
    pcs: tuple[tuple[int, ...], ...] = ()
    if exact:
        numbers, stacks, pcs = _by_address(profile, samples, placement)
    thread, threads = _threads(profile, samples, placement.mode)
    return Traces(samples, placement.mode, thread, numbers, threads, places, stacks, pcs, stacked)


def module_of(place: Place) -> Place:
    """The module of a place as a place of its own."""
    return Place(
        guest=place.guest,
        symbol=None,
        name=place.module,
        module=place.module,
        kind=place.kind,
        reason=Reason.RESOLVED,
        address=place.image_start,
        image_start=place.image_start,
        idle=False,
    )


def images_of(profile: Profile) -> dict[tuple[int, str, int], LoadedImage]:
    """Every image by guest, name and runtime start, as a `Place` names its own."""
    return {
        (guest, image.name, image.start): image
        for guest, space in sorted(profile.spaces.items())
        for era in space.eras
        for image in era.images
    }


def _by_function(
    placement: Placement, *, above: bool
) -> tuple[NDArray[np.int32], tuple[Place, ...], tuple[tuple[int, ...], ...]]:
    places = list(placement.places)
    number_of: dict[tuple[int, ...], int] = {}

    def numbered(stack: Sequence[int]) -> int:
        return number_of.setdefault(tuple(stack), len(number_of))

    module_number: dict[tuple[int, str], int] = {}

    def alone(number: int) -> tuple[int, ...]:
        place = placement.places[number]
        if not above or place.name == place.module:
            return (number,)
        key = (place.guest, place.module)
        if key not in module_number:
            module_number[key] = len(places)
            places.append(module_of(place))
        return (number, module_number[key])

    with_stack = placement.path >= 0
    numbers = np.empty(len(placement.own), np.int32)
    for mask, column, frames in (
        (with_stack, placement.path, lambda number: placement.frames[number]),
        (~with_stack, placement.own, alone),
    ):
        used, inverse = distinct(column[mask])
        found = [numbered(frames(number)) for number in used.tolist()]
        numbers[mask] = np.array(found, np.int32)[inverse]
    return numbers, tuple(places), tuple(number_of)


def _by_address(
    profile: Profile, samples: SampleBatch, placement: Placement
) -> tuple[NDArray[np.int32], tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    numbers = np.empty(len(samples), np.int32)
    stacks: list[tuple[int, ...]] = []
    pcs: list[tuple[int, ...]] = []
    with_stack = placement.path >= 0
    paths, inverse = distinct(placement.path[with_stack])
    numbers[with_stack] = inverse
    stack_ids = samples.stack[with_stack][one_of_each(inverse, len(paths))]
    for path, stack in zip(paths.tolist(), stack_ids.tolist(), strict=True):
        stacks.append(placement.frames[path])
        pcs.append(profile.stacks[stack])
    # The others by guest and address.
    alone = ~with_stack
    for guest in np.unique(samples.guest[alone]).tolist():
        here = np.flatnonzero(alone & (samples.guest == guest))
        found, inverse = np.unique(samples.pc[here], return_inverse=True)
        numbers[here] = inverse + len(stacks)
        own = placement.own[here][one_of_each(inverse, len(found))]
        stacks += [(place,) for place in own.tolist()]
        pcs += [(pc,) for pc in found.tolist()]
    return numbers, tuple(stacks), tuple(pcs)


def _threads(
    profile: Profile, samples: SampleBatch, mode: UInt8s
) -> tuple[NDArray[np.int32], tuple[Thread, ...]]:
    key = samples.guest.astype(np.int32) << 16 | samples.vcpu
    vcpus, inverse = distinct(key)
    weight = np.bincount(inverse, samples.weight, len(vcpus)).astype(np.int64)
    active = np.where(mode == Mode.IDLE, 0, samples.weight)
    busy = np.bincount(inverse, active, len(vcpus)).astype(np.int64)
    # By falling activity; equals keep the order of their numbers.
    order = np.lexsort((vcpus, -weight, -busy))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    threads = []
    for i in order.tolist():
        guest, vcpu = int(vcpus[i]) >> 16, int(vcpus[i]) & 0xFFFF
        known = profile.guests.get(guest)
        guest_name = printable(known.name) if known else f"guest {guest}"
        name = f"vcpu {vcpu}" if len(profile.guests) < 2 else f"{guest_name} vcpu {vcpu}"
        threads.append(Thread(guest, vcpu, guest_name, name, int(weight[i]), int(busy[i])))
    return place[inverse], tuple(threads)
