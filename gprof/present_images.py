"""Which of the images that a person named are in the guest's memory now.

Firmware, loader and kernel use the same memory one after the other. Where samples lie in an
image its bytes are compared with the guest's: what is not there names nothing. A firmware that
says in its log what it loads is listened to, and one that moves itself is found by its bytes.
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
from symbols.space import AddressSpace

#: How often one image is compared, a log looked at, and something that moved looked for.
_AGAIN_NS = 250_000_000
#: So many images are compared then, those first that waited longest: each stops the guest.
_AT_ONCE = 8
_PRIVILEGED = (Mode.FIRMWARE, Mode.KERNEL, Mode.IDLE)
#: In so many pages something that moved is looked for at once, so often in each, and in so many
#: in all; and so much of it is found at most.
_SOUGHT_AT_ONCE, _TRIES, _MOST_PAGES, _MOST_MOVED = 4, 3, 4096, 64


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
    """

    def __init__(self, named: ExtraImages) -> None:
        self._named = named
        self._looked = [_Looked(image) for image in named.images]
        self._ever = list(self._looked)
        self._moved: list[_Looked] = []
        self._tried: dict[int, int] = {}  # how often, by page
        self._due_ns = 0
        self._heard_ns = time.monotonic_ns()  # when the logs were looked at last

    def forget(self) -> None:
        """The guest was reset: anything may be there, and what had moved may do so again."""
        for looked in self._all:
            looked.absent = looked.known = False
            looked.due_ns = 0
        self._tried.clear()

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
            changes += [self._listen(now), self._seek(batch, memory, space)]
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

    def _listen(self, now: int) -> int | None:
        """Whether the firmware has loaded something, as it says.

        What it loads where nothing was has been there as long as anything was sampled there.
        """
        heard_ns, self._heard_ns = self._heard_ns, now
        grown = [log.grown() for log in self._named.logs]
        if not any(grown):
            return None
        known = {id(looked.image): looked for looked in self._looked}
        images = self._named.images
        came = [image for image in images if id(image) not in known]
        self._looked = [known.get(id(image)) or _Looked(image) for image in images]
        self._ever += [looked for looked in self._looked if id(looked.image) not in known]
        overlap = any(
            new.loaded.start < old.image.loaded.end and old.image.loaded.start < new.loaded.end
            for new in came
            for old in known.values()
            if not old.absent
        )
        stayed = len(images) - len(came)
        return heard_ns if overlap or stayed < len(known) else 0

    def _seek(
        self, batch: SampleBatch, memory: Callable[[], Memory], space: AddressSpace
    ) -> int | None:
        """Whether an image runs where nothing is known to be: it has moved itself."""
        movable = [image for image in self._named.fixed if image.code is not None]
        if not movable or len(self._moved) >= _MOST_MOVED:
            return None
        for pc in self._strangers(batch, space)[-_SOUGHT_AT_ONCE:]:
            self._tried[pc >> 12] = self._tried.get(pc >> 12, 0) + 1
            for image in movable:
                moved = image.moved(memory(), pc)
                if moved is not None:
                    self._moved.append(_Looked(moved, known=True))
                    self._ever.append(self._moved[-1])
                    return 0
        return None

    def _strangers(self, batch: SampleBatch, space: AddressSpace) -> list[int]:
        """Addresses where nothing is known to be, one of a page, and none of a kernel's half."""
        low, high = space.kernel_half
        found: dict[int, int] = {}
        for pc in np.unique(batch.pc).tolist():
            page = pc >> 12
            if (low and low <= pc <= high) or self._tried.get(page, 0) >= _TRIES:
                continue
            if page not in self._tried and len(self._tried) + len(found) >= _MOST_PAGES:
                continue
            if space.image_at(pc) is None and not any(_holds(one.image, pc) for one in self._all):
                found[page] = pc
        return list(found.values())


def _inside(batch: SampleBatch, image: ExtraImage) -> NDArray[np.bool_]:
    start, last = np.uint64(image.loaded.start), np.uint64(image.loaded.end - 1)
    found: NDArray[np.bool_] = (batch.pc >= start) & (batch.pc <= last)
    return found


def _holds(image: ExtraImage, pc: int) -> bool:
    return image.loaded.start <= pc < image.loaded.end
