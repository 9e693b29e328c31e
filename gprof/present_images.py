"""Which of the images that a person named are in the guest's memory now.

Firmware, loader and kernel use the same memory one after the other. Where samples lie in an
image its bytes are compared with the guest's: what is not there names nothing. A firmware that
says in its log what it loads is listened to; one that lists it in its memory, as UEFI does, is
asked where something runs that nobody knows; and one that moves itself is found by its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import Mode, SampleBatch
from symbols.extra_image import ExtraImage
from symbols.extra_images import ExtraImages
from symbols.memory import Memory
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.uefi_listing import UefiListing

#: How often one image is compared, a log looked at, and something that moved looked for.
_AGAIN_NS = 250_000_000
#: So many images are compared then, those first that waited longest: each stops the guest.
_AT_ONCE = 8
_PRIVILEGED = (Mode.FIRMWARE, Mode.KERNEL, Mode.IDLE)
#: In so many pages something that moved is looked for at once, so often in each, and in so many
#: in all; and so much of it is found at most.
_SOUGHT_AT_ONCE, _TRIES, _MOST_PAGES, _MOST_MOVED = 4, 3, 4096, 64
_MOST_STRANGERS = 256
#: How often a firmware is asked for its list, at first and at last, where it has none or no other.
_ASK_FIRST_NS, _ASK_LAST_NS = 500_000_000, 8_000_000_000


@dataclass(slots=True, eq=False)
class _Looked:
    """An image, and what looking told.

    Attributes:
        image: taken for present until memory says otherwise.
        absent: memory has something else there.
        known: memory was compared.
        due_ns: when it is to be compared again.
    """

    image: ExtraImage
    absent: bool = False
    known: bool = False
    due_ns: int = 0


class PresentImages:
    """Keeps, for each image, whether it was there when it was looked at last.

    Args:
        named: the images as they were named, and the logs that name more.
        seeks_lists: look for the list that a UEFI firmware keeps, all over memory: where reading
            meets nothing but RAM.
    """

    def __init__(self, named: ExtraImages, *, seeks_lists: bool = False) -> None:
        self._named = named
        self._seeks_lists = seeks_lists
        self._looked = [_Looked(image) for image in named.images]
        self._ever = list(self._looked)
        self._moved: list[_Looked] = []
        self._tried: dict[int, int] = {}  # how often, by page
        self._due_ns = 0
        self._listing = UefiListing(named.folders)
        self._ask_due_ns, self._ask_pause_ns = 0, _ASK_FIRST_NS
        self._heard_ns = time.monotonic_ns()  # when the logs were looked at last

    def forget(self) -> None:
        """The guest was reset: anything may be there, and what had moved may do so again."""
        listed = {id(image) for image in self._listing.images}
        self._looked = [looked for looked in self._looked if id(looked.image) not in listed]
        for looked in self._all:
            looked.absent = looked.known = False
            looked.due_ns = 0
        self._tried.clear()
        self._listing.forget()
        self._ask_due_ns, self._ask_pause_ns = 0, _ASK_FIRST_NS

    def in_space(self, space: AddressSpace) -> AddressSpace:
        """The same space with the images that are there, and without those that are not."""
        there = [looked.image.loaded for looked in self._all if not looked.absent]
        ours = {id(looked.image.loaded) for looked in self._ever}
        before = [image for image in space.images if id(image) in ours]
        if {id(image) for image in before} == {id(image) for image in there}:
            return space
        return AddressSpace(
            [*there, *(image for image in space.images if id(image) not in ours)],
            kernel_half=space.kernel_half,
            starting=space.starting,
        )

    def look(
        self, batch: SampleBatch, memory: Callable[[], Memory], space: AddressSpace
    ) -> int | None:
        """Compare the images that were sampled, and find those that came or moved.

        Args:
            batch: new samples.
            memory: the guest's, fresh; asked for where something is to be compared.
            space: what is known to be loaded.

        Returns:
            Since when something else is there, as the time of the first sample that shows it; 0
            where it was so all the time; None where nothing has changed.
        """
        now = time.monotonic_ns()
        batch = batch.select(np.isin(batch.mode, _PRIVILEGED))
        changes = [self._compare(batch, memory, now)]
        if now >= self._due_ns:
            self._due_ns = now + _AGAIN_NS
            strangers = self._strangers(batch, space)
            changes.append(self._seek(strangers, memory))
            # UEFI pages its memory, as SeaBIOS does not; while there is no kernel, it is there.
            paged = space.starting and bool(np.isin(batch.pc[_not_bare(batch)], strangers).any())
            changes.append(self._hear(paged, memory, now))
        return min((since for since in changes if since is not None), default=None)

    @property
    def _all(self) -> list[_Looked]:
        return [*self._looked, *self._moved]

    def _compare(self, batch: SampleBatch, memory: Callable[[], Memory], now: int) -> int | None:
        """Whether the images that were sampled are there."""
        changed: int | None = None
        compared = 0
        for looked in sorted(self._all, key=lambda looked: looked.due_ns):
            if looked.image.code is None or now < looked.due_ns or compared == _AT_ONCE:
                continue
            here = np.flatnonzero(_inside(batch, looked.image))
            if not len(here):
                continue
            compared += 1
            looked.due_ns = now + _AGAIN_NS
            holds = looked.image.holds(memory(), int(batch.pc[here[-1]]))
            if holds is None:
                continue
            if holds == looked.absent:
                since = int(batch.time[here[0]]) if looked.known else 0
                changed = since if changed is None else min(changed, since)
                looked.absent = not holds
            looked.known = True
        return changed

    def _hear(self, asked: bool, memory: Callable[[], Memory], now: int) -> int | None:
        """Whether the firmware has loaded something, as it says in its logs or its memory.

        What it loads where nothing was has been there as long as anything was sampled there.
        """
        heard_ns, self._heard_ns = self._heard_ns, now
        changed = [log.grown() for log in self._named.logs]
        if asked and self._seeks_lists and now >= self._ask_due_ns:
            changed.append(self._listing.read(memory()))
            pause = _ASK_FIRST_NS if changed[-1] else min(2 * self._ask_pause_ns, _ASK_LAST_NS)
            self._ask_pause_ns, self._ask_due_ns = pause, time.monotonic_ns() + pause
        if not any(changed):
            return None
        named = self._named.images
        listed = [
            one
            for one in self._listing.images
            if not any(_meet(one.loaded, two.loaded) for two in named)
        ]
        known = {id(looked.image): looked for looked in self._looked}
        images = [*listed, *named]
        came = [_Looked(image) for image in images if id(image) not in known]
        self._ever += came
        known_now = known | {id(looked.image): looked for looked in came}
        self._looked = [known_now[id(image)] for image in images]
        if not came and len(images) == len(known):
            return None
        # One that ends elsewhere is the same: without a file the next one ends it.
        there = [looked.image.loaded for looked in known.values() if not looked.absent]
        before = {(old.name, old.start) for old in there}
        places = {(image.loaded.name, image.loaded.start) for image in images}
        new = [one.image.loaded for one in came]
        other = any(
            _meet(one, old) for one in new if (one.name, one.start) not in before for old in there
        )
        return heard_ns if other or not before <= places else 0

    def _seek(self, strangers: list[int], memory: Callable[[], Memory]) -> int | None:
        """Whether an image runs where nothing is known to be: it has moved itself."""
        movable = [image for image in self._named.fixed if image.code is not None]
        if not movable or len(self._moved) >= _MOST_MOVED:
            return None
        sought = 0
        for pc in strangers:
            tries = self._tried.get(pc >> 12, 0)
            if tries >= _TRIES or (not tries and len(self._tried) >= _MOST_PAGES):
                continue
            if sought == _SOUGHT_AT_ONCE:
                break
            sought += 1
            self._tried[pc >> 12] = tries + 1
            for image in movable:
                moved = image.moved(memory(), pc)
                if moved is not None:
                    self._moved.append(_Looked(moved, known=True))
                    self._ever.append(self._moved[-1])
                    return 0
        return None

    def _strangers(self, batch: SampleBatch, space: AddressSpace) -> list[int]:
        """Addresses where nothing is known to be, one of a page, but none of a kernel."""
        low, high = space.kernel_half
        kernel = space.starting or any(image.kind is ImageKind.KERNEL for image in space.images)
        found: dict[int, int] = {}
        for pc in np.unique(batch.pc).tolist():
            if (kernel and low and low <= pc <= high) or len(found) >= _MOST_STRANGERS:
                continue
            if space.image_at(pc) is None and not any(_holds(one.image, pc) for one in self._all):
                found[pc >> 12] = pc
        return list(found.values())


def _not_bare(batch: SampleBatch) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = batch.mode != Mode.FIRMWARE
    return found


def _inside(batch: SampleBatch, image: ExtraImage) -> NDArray[np.bool_]:
    start, last = np.uint64(image.loaded.start), np.uint64(image.loaded.end - 1)
    found: NDArray[np.bool_] = (batch.pc >= start) & (batch.pc <= last)
    return found


def _meet(one: LoadedImage, two: LoadedImage) -> bool:
    return one.start < two.end and two.start < one.end


def _holds(image: ExtraImage, pc: int) -> bool:
    return image.loaded.start <= pc < image.loaded.end
