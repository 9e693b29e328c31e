"""The modules of an EDK2 firmware at their addresses, from its debug log, which may still grow."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from symbols.build_folder import BuildFolder, debug_file
from symbols.edk2_log import FirmwareModule, LogReader
from symbols.extra_image import ExtraImage
from symbols.kernel_space import placed
from symbols.memory import SlidMemory
from symbols.space import ImageKind, LoadedImage

_WRAP = 1 << 64
#: Without its file nothing tells how long a module is. Few are longer, and the next one ends it.
_MODULE = 1 << 20
#: How much of a log is read at once, and in all.
_PIECE, _LARGEST = 16 << 20, 1 << 30


class FirmwareLog:
    """See the module.

    Args:
        path: of the log.
        folders: where the firmware was built.

    Attributes:
        path: see above.
        images: what was loaded when it was read last, in the order of loading.
    """

    def __init__(self, path: Path, folders: Sequence[BuildFolder] = ()) -> None:
        self.path = path
        self.images: tuple[ExtraImage, ...] = ()
        self._folders = tuple(folders)
        self._reader = LogReader()
        self._offset = 0
        self._placed: dict[FirmwareModule, tuple[ExtraImage, ...]] = {}

    @property
    def recognized(self) -> bool:
        """Whether it is one, as far as it goes."""
        return self._reader.recognized

    def grown(self) -> bool:
        """Read what the firmware has written since; whether something else is loaded now."""
        try:
            size = self.path.stat().st_size
            if size < self._offset:
                # It was started with a new log.
                self._reader, self._offset = LogReader(), 0
            if size == self._offset or self._offset >= _LARGEST:
                return False
            with self.path.open("rb") as file:
                file.seek(self._offset)
                while piece := file.read(_PIECE):
                    self._offset += len(piece)
                    self._reader.feed(piece)
        except OSError:
            return False
        return self._place()

    def _place(self) -> bool:
        """Give every module its place; whether that is another than before."""
        modules = self._reader.modules
        starts = sorted(module.start for module in modules)
        before, self.images = self.images, ()
        placed_before, self._placed = self._placed, {}
        for module in modules:
            following = bisect.bisect_right(starts, module.start)
            end = min([module.start + _MODULE, _WRAP, *starts[following : following + 1]])
            images = placed_before.get(module)
            if images is None or (_is_bare(images) and images[0].loaded.end != end):
                images = self._images(module, end)
            self._placed[module] = images
            self.images += images
        # They are what they were if they are the same objects: their tables are large.
        return list(map(id, before)) != list(map(id, self.images))

    def _images(self, module: FirmwareModule, end: int) -> tuple[ExtraImage, ...]:
        found = images_of(module, self._folders, self.path.parent)
        if found or module.start >= end:
            return found
        name = module.name or f"driver at {module.start:#x}"
        return (ExtraImage(LoadedImage(name, ImageKind.FIRMWARE, module.start, end)),)


def _is_bare(images: tuple[ExtraImage, ...]) -> bool:
    """Whether nothing is known of a module but where it begins."""
    return len(images) == 1 and images[0].loaded.table is None


def images_of(
    module: FirmwareModule, folders: Sequence[BuildFolder], beside: Path | None = None
) -> tuple[ExtraImage, ...]:
    """A module by its debug file; nothing where that is not found. See `debug_file`."""
    found = debug_file(module, folders, beside)
    if found is None or not found[0].text_ranges:
        return ()
    image, slide = found
    pieces = placed(image, (image.text_ranges[0][0] + slide) % _WRAP)
    return tuple(
        ExtraImage(replace(piece, name=module.name or piece.name), SlidMemory(image, slide))
        for piece in pieces
    )
