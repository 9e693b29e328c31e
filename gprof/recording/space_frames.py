"""What is written of one guest's address spaces: eras, images, and symbols of what was sampled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from gprof.recording.format import Kind
from gprof.recording.images import image_fields, symbol_fields
from gprof.sampling.source import Int64s, UInt64s
from symbols.space import AddressSpace, LoadedImage, Reason
from symbols.table import SymbolTable


@dataclass(slots=True)
class _Era:
    """One era of a guest as it was written.

    Attributes:
        space: what held then, and how many images it had.
        numbers: for each of its images the recorded number.
        pcs: addresses that were looked up in it, ascending.
    """

    space: tuple[AddressSpace, int]
    numbers: list[int] = field(default_factory=list)
    pcs: UInt64s = field(default_factory=lambda: np.empty(0, np.uint64))


class SpaceFrames:
    """Remembers what was written of a guest, and appends what is new.

    Args:
        guest: its id.
        append: takes a frame.
    """

    def __init__(self, guest: int, append: Callable[[Kind, Mapping[str, object]], None]) -> None:
        self._guest = guest
        self._append = append
        self._eras: list[_Era] = []
        self._images: list[LoadedImage] = []  # by recorded number
        self._pcs: UInt64s = np.empty(0, np.uint64)  # that were sampled, ascending
        # By recorded number of an image its table, and the ascending indices written of it.
        self._symbols: dict[int, tuple[SymbolTable, Int64s]] = {}

    def append(self, space: AddressSpace, pcs: UInt64s) -> None:
        """Append what came since the last time.

        Args:
            space: what addresses mean now; it knows the eras before.
            pcs: distinct addresses that were sampled, ascending, and those whose names callers
                have.
        """
        for place, era in enumerate(space.eras):
            self._append_era(era, place)
        self._pcs = np.union1d(self._pcs, pcs)
        for written in self._eras:
            self._append_symbols(written)

    def _append_era(self, space: AddressSpace, era: int) -> None:
        """Write what an era has, if that is not written yet.

        An era may be written again, better known. What is loaded later wins: so in the first
        one, which readers of format 1.0 take for all there is, images are those known as far as
        they come in that order, and the others are loaded on top.
        """
        size = len(space.images)
        if era < len(self._eras):
            before, size_before = self._eras[era].space
            if before is space and size_before == size:
                return
        first = len(self._images)
        numbers: list[int] = []
        for image in space.images:
            after = numbers[-1] + 1 if numbers and not era else 0
            number = self._number_of(image, after, first, proven=era > 0)
            if number is None:
                number = len(self._images)
                self._images.append(image)
            numbers.append(number)
        self._append(
            Kind.IMAGES,
            {
                "guest": self._guest,
                "time": space.since_ns if era else 0,
                "kernel_half": list(space.kernel_half),
                "first": first,
                "images": [image_fields(image) for image in self._images[first:]],
                "era": era,
                "loaded": numbers,
                "starting": space.starting,
            },
        )
        # What was looked up may mean something else now, also if it is long ago.
        self._eras[era:] = [_Era((space, size), numbers)]

    def _number_of(self, image: LoadedImage, first: int, after: int, *, proven: bool) -> int | None:
        """The number of an image that was written already; None where it was not.

        Args:
            image: as it is loaded now.
            first: the least number that will do.
            after: the number behind the last that will do.
            proven: an image of another boot that looks the same is not the same without proof.
        """
        for number in range(first, after):
            written = self._images[number]
            if (written.name, written.start) != (image.name, image.start):
                continue  # at once, since there are many
            if proven and not image.build_id and written.table is not image.table:
                continue
            if image_fields(written) == image_fields(image):
                return number
        return None

    def _append_symbols(self, era: _Era) -> None:
        """Write the symbols of addresses that were not looked up in an era before.

        In which era an address was sampled does not matter: that may be known too late.
        """
        space = era.space[0]
        fresh = np.setdiff1d(self._pcs, era.pcs, assume_unique=True)
        era.pcs = self._pcs
        resolved = space.resolve(fresh)
        for image in np.unique(resolved.image[resolved.image >= 0]).tolist():
            table, number = space.images[image].table, era.numbers[image]
            if table is None or not len(table):
                continue
            written_of, written = self._symbols.get(number, (table, np.empty(0, np.int64)))
            if written_of is not table:
                written = np.empty(0, np.int64)
            here = (resolved.image == image) & (resolved.reason == Reason.RESOLVED)
            # The first symbol shows a reader that the image has some, though none may be used.
            wanted = np.union1d(resolved.symbol[here], np.zeros(1, np.int64))
            new = np.setdiff1d(wanted, written, assume_unique=True)
            self._symbols[number] = (table, np.union1d(written, new))
            for fields in symbol_fields(table, new):
                self._append(Kind.SYMBOLS, {"guest": self._guest, "image": number, **fields})
