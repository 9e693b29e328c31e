"""The debug files of a firmware's modules, in the folder that EDK2 was built in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from symbols.edk2_log import FirmwareModule, fixed_modules
from symbols.elf import Image
from symbols.errors import ImageError
from symbols.files import read_bounded

_DEBUG = ".debug"
_MAP = ".Fv.map"
#: A build of everything has thirty thousand files.
_MOST_FILES = 1 << 20
_LARGEST_MAP = 16 << 20
_WRAP = 1 << 64


class BuildFolder:
    """A folder of EDK2's build, or any above it: `Build/OvmfX64/DEBUG_GCC5`.

    Args:
        path: of the folder; looked through when that is asked for first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self, name: str) -> tuple[Path, ...]:
        """The files with the symbols of a module, those first that lie nearest."""
        return self._found.get(f"{name}{_DEBUG}", ())

    @property
    def holds_modules(self) -> bool:
        """Whether there is any such file."""
        return any(name.endswith(_DEBUG) for name in self._found)

    @property
    def fixed(self) -> Iterator[FirmwareModule]:
        """The modules that run where they lie in flash, as its maps of firmware volumes tell."""
        for name in sorted(name for name in self._found if name.endswith(_MAP)):
            with contextlib.suppress(ImageError):
                _, text = read_bounded(self._found[name][0], _LARGEST_MAP, ImageError)
                yield from fixed_modules(text)

    @cached_property
    def _found(self) -> dict[str, tuple[Path, ...]]:
        found: dict[str, list[Path]] = {}
        seen = 0
        for folder, folders, names in os.walk(self.path):
            folders.sort()
            seen += len(names)
            for name in names:
                if name.endswith((_DEBUG, _MAP)):
                    found.setdefault(name, []).append(Path(folder, name))
            if seen > _MOST_FILES:
                break
        return {
            name: tuple(sorted(paths, key=lambda path: (len(path.parts), path)))
            for name, paths in found.items()
        }


def debug_file(
    module: FirmwareModule, folders: Iterable[BuildFolder], beside: Path | None = None
) -> tuple[Image, int] | None:
    """The ELF file of a module, and how far the guest has it from its link addresses.

    It is looked for in the folders, in one more, and where the firmware says that it was built. A
    file of another build is none if its first instruction is elsewhere.

    Args:
        module: as the firmware told it.
        folders: where it may have been built.
        beside: the folder of the log.
    """
    near = [beside / f"{module.name}{_DEBUG}"] if beside is not None else []
    built = Path(module.path)
    there = [built.with_suffix(_DEBUG), built] if module.path else []
    second: tuple[Image, int] | None = None
    for path in (*(p for folder in folders for p in folder.files(module.name)), *near, *there):
        # The guest has written the log: it may name a device or a pipe.
        with contextlib.suppress(ImageError, OSError, ValueError):
            if not path.is_file():
                continue
            image = Image.open(path)
            slide = _slide(module, image)
            if slide == module.address or not module.entry:
                return image, slide
            # Of one name there may be several, built with other libraries (OVMF has two CpuDxe).
            if second is None and (module.address - slide) % _WRAP < image.text_ranges[0][0]:
                second = image, slide
    return second


def _slide(module: FirmwareModule, image: Image) -> int:
    """How far a module is from its link addresses.

    The build keeps link addresses as those relative to the module's first byte
    (BaseTools/Source/C/GenFw/Elf64Convert.c), but of a TE image headers are cut away.
    """
    if not image.text_ranges:
        raise ImageError(f"{image.path} has no text")
    if module.entry:
        return (module.entry - image.entry) % _WRAP
    return (module.text - image.text_ranges[0][0]) % _WRAP
