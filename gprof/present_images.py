"""Which of the images that a person named are in the guest's memory now.

Firmware, loader and kernel use the same memory one after the other. Where samples lie in an
image its bytes are compared with the guest's: what is not there names nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from gprof.sampling.source import Mode, SampleBatch
from symbols.extra_images import ExtraImage
from symbols.memory import Memory
from symbols.space import AddressSpace

#: How often one image is compared.
_AGAIN_NS = 250_000_000
_PRIVILEGED = (Mode.FIRMWARE, Mode.KERNEL, Mode.IDLE)


class PresentImages:
    """Keeps, for each image, whether it was there when it was looked at last.

    Args:
        images: as they were named; taken for present until memory says otherwise.
    """

    def __init__(self, images: Sequence[ExtraImage]) -> None:
        self._images = images
        self._absent: set[int] = set()
        self._known: set[int] = set()
        self._due_ns = [0] * len(images)

    def in_space(self, space: AddressSpace) -> AddressSpace:
        """The same space without the images that are not there."""
        absent = [self._images[number].loaded for number in self._absent]
        if not any(image is gone for image in space.images for gone in absent):
            return space
        return AddressSpace(
            [image for image in space.images if not any(image is gone for gone in absent)],
            kernel_half=space.kernel_half,
            starting=space.starting,
        )

    def look(self, batch: SampleBatch, memory: Callable[[], Memory]) -> int | None:
        """Compare the images that were sampled.

        Args:
            batch: new samples.
            memory: the guest's, fresh; asked for where something is to be compared.

        Returns:
            Since when something else is there, as the time of the first sample that shows it; 0
            where it was so all the time; None where nothing has changed.
        """
        changed: int | None = None
        now = time.monotonic_ns()
        for number, image in enumerate(self._images):
            if image.code is None or now < self._due_ns[number]:
                continue
            inside = np.isin(batch.mode, _PRIVILEGED)
            inside &= batch.pc >= np.uint64(image.loaded.start)
            inside &= batch.pc <= np.uint64(image.loaded.end - 1)
            here = np.flatnonzero(inside)
            if not len(here):
                continue
            self._due_ns[number] = now + _AGAIN_NS
            holds = image.holds(memory(), int(batch.pc[here[-1]]))
            if holds is None or holds == (number not in self._absent):
                self._known |= {number} if holds is not None else set()
                continue
            since = int(batch.time[here[0]]) if number in self._known else 0
            changed = since if changed is None else min(changed, since)
            self._known.add(number)
            self._absent ^= {number}
        return changed
