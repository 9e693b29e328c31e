"""What the processes of guests have mapped to run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from symbols.space import AddressSpace, ImageKind, LoadedImage

#: What a process may have mapped in the course of its life.
_MOST_IMAGES = 4096


#: What makes an image the same: its symbols are by being the same table.
_Key: TypeAlias = tuple[str, ImageKind, int, int, int, bytes, str, int]


def _key(image: LoadedImage) -> _Key:
    start, end, table = image.start, image.end, id(image.table)
    return image.name, image.kind, start, end, image.slide, image.build_id, image.path, table


class UserSpaces:
    """User spaces by id; id 0 is an unknown one.

    A space is numbered when a task is first seen in it, and filled when it was read: samples from
    before have their meaning from then on. Many are alike, such as those of all runs of a program
    that is not moved about: what they have in common is kept once, as a *layout*.

    One thread adds to it; any may read it meanwhile.

    Attributes:
        changes: how often a space got another layout.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[int, int, int], int] = {}
        self._layout_of: list[int] = [0]
        self._layouts: list[AddressSpace] = [AddressSpace()]
        self._images: list[tuple[LoadedImage, ...]] = [()]
        self._numbers: dict[tuple[_Key, ...], int] = {(): 0}
        self.changes = 0

    def __len__(self) -> int:
        """One more than the spaces that are numbered."""
        return len(self._layout_of)

    def number(self, guest: int, process: int, mm: int) -> int:
        """The id of a space, new or known.

        Args:
            guest: id of the guest.
            process: number of the process.
            mm: where the kernel describes it; another process may have the same later.
        """
        key = guest, process, mm
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = self.reserve()
        return found

    def reserve(self) -> int:
        """The id of one more space, of which nothing is known."""
        self._layout_of.append(0)
        return len(self._layout_of) - 1

    def fill(self, space: int, images: Iterable[LoadedImage]) -> None:
        """Say what is mapped in a space now; what was before it stays where nothing else is."""
        new = {_key(image): image for image in images}
        before = self._images[self._layout_of[space]]
        kept = [*(image for image in before if _key(image) not in new), *new.values()]
        self.lay_out(space, self.layout(kept[-_MOST_IMAGES:]))

    def layout(self, images: Sequence[LoadedImage]) -> int:
        """The number of a layout, new or known; 0 is the empty one."""
        key = tuple(map(_key, images))
        found = self._numbers.get(key)
        if found is None:
            found = len(self._layouts)
            self._images.append(tuple(images))
            self._layouts.append(AddressSpace(images))
            self._numbers[key] = found
        return found

    def lay_out(self, space: int, layout: int) -> None:
        """Give a space a layout."""
        if self._layout_of[space] != layout:
            self._layout_of[space] = layout
            self.changes += 1

    @property
    def layouts(self) -> Sequence[AddressSpace]:
        """Every layout by its number."""
        return self._layouts

    def layouts_of(self) -> NDArray[np.int64]:
        """For each space the number of its layout."""
        return np.array(self._layout_of, np.int64)

    def holds(self, space: int, address: int) -> bool:
        """Whether it is known what a space has at an address."""
        layout = self._layout_of[space] if 0 <= space < len(self._layout_of) else 0
        return self._layouts[layout].image_at(address) is not None
