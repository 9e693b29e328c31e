"""The programs of a UEFI firmware at their addresses, as it lists them in its memory."""

from __future__ import annotations

from collections.abc import Sequence

from symbols.build_folder import BuildFolder
from symbols.edk2_log import FirmwareModule
from symbols.extra_image import ExtraImage
from symbols.firmware_log import images_of
from symbols.memory import Memory
from symbols.space import ImageKind, LoadedImage
from symbols.uefi_images import Listed, described, find_system_table, listed


class UefiListing:
    """See the module.

    Args:
        folders: where the firmware was built.

    Attributes:
        images: what it listed when it was read last.
    """

    def __init__(self, folders: Sequence[BuildFolder] = ()) -> None:
        self.images: tuple[ExtraImage, ...] = ()
        self._folders = tuple(folders)
        self._system_table: int | None = None
        self._placed: dict[Listed, tuple[ExtraImage, ...]] = {}

    def read(self, memory: Memory) -> bool:
        """Read the list, once the firmware has made it; whether it is another than before.

        Args:
            memory: the guest's, fresh.
        """
        if self._system_table is None:
            self._system_table = find_system_table(memory)
        programs = listed(memory, self._system_table) if self._system_table is not None else ()
        new = [program for program in programs if program not in self._placed]
        gone = len(self._placed) > len(programs) - len(new)
        for program, said in zip(new, described(memory, new), strict=True):
            module = FirmwareModule(said.name, program.start, said.entry)
            whole = LoadedImage(said.name, ImageKind.FIRMWARE, program.start, program.end)
            self._placed[program] = (images_of(module, self._folders) if said.entry else ()) or (
                ExtraImage(whole),
            )
        self._placed = {program: self._placed[program] for program in programs}
        self.images = tuple(image for images in self._placed.values() for image in images)
        return bool(new) or gone

    def forget(self) -> None:
        """The guest was reset."""
        self.images, self._system_table, self._placed = (), None, {}
