"""Images beside the kernel that a person names: firmware, a boot loader, a unikernel.

`FILE[@ADDR]` names an ELF file, a raw binary at an address, a text of `nm` or System.map, or the
log of an EDK2 firmware (`symbols/edk2_log.py`), which may still be empty; a folder is one that
EDK2 was built in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from symbols.build_folder import BuildFolder
from symbols.elf import Image
from symbols.errors import ImageError, KallsymsError
from symbols.extra_image import ExtraImage
from symbols.files import read_bounded
from symbols.firmware_log import FirmwareLog, images_of
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import placed
from symbols.memory import BytesMemory, SlidMemory
from symbols.names import printable
from symbols.space import ImageKind, LoadedImage

_WRAP = 1 << 64
_ADDRESS = re.compile(r"(\+?)0[xX]([0-9a-fA-F]{1,16})")
_LARGEST = 1 << 30
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class ExtraImages:
    """Everything that was named beside a guest's kernel.

    Attributes:
        in_flash: parts of firmwares that run where they lie.
        fixed: files, where they were linked or said to be.
        logs: of firmwares, which may load more.
        folders: where firmwares were built.
    """

    in_flash: tuple[ExtraImage, ...] = ()
    fixed: tuple[ExtraImage, ...] = ()
    logs: tuple[FirmwareLog, ...] = ()
    folders: tuple[BuildFolder, ...] = ()

    @property
    def images(self) -> tuple[ExtraImage, ...]:
        """All of them as they are known now."""
        logged = (image for log in self.logs for image in log.images)
        return (*self.in_flash, *self.fixed, *logged)

    def __bool__(self) -> bool:
        return bool(self.in_flash or self.fixed or self.logs or self.folders)

    @classmethod
    def together(cls, several: Iterable[ExtraImages]) -> ExtraImages:
        """What several have, in their order."""
        each = tuple(several)
        return cls(
            tuple(image for one in each for image in one.in_flash),
            tuple(image for one in each for image in one.fixed),
            tuple(log for one in each for log in one.logs),
            tuple(folder for one in each for folder in one.folders),
        )


def open_extras(named: Sequence[str]) -> ExtraImages:
    """What several options name; folders serve all logs.

    Raises:
        ImageError: one is none of those, or nothing tells where it is.
    """
    folders = build_folders(named)
    return ExtraImages.together(open_extra(one, folders) for one in named)


def build_folders(named: Iterable[str]) -> tuple[BuildFolder, ...]:
    """Those that EDK2 was built in."""
    return tuple(BuildFolder(Path(one)) for one in named if Path(one).is_dir())


def _of_folder(folder: BuildFolder) -> ExtraImages:
    """What a build has in flash; of the rest the log tells where it is."""
    if not folder.holds_modules:
        raise ImageError(
            f"{printable(str(folder.path))} has no debug files of a firmware in it",
            "Give the folder that EDK2 has built in, such as Build/OvmfX64/DEBUG_GCC5.",
        )
    in_flash = [image for module in folder.fixed for image in images_of(module, (folder,))]
    return ExtraImages(tuple(in_flash), folders=(folder,))


def open_extra(named: str, folders: Sequence[BuildFolder] = ()) -> ExtraImages:
    """The images of `FILE[@ADDR]`, or of a folder.

    Args:
        named: the file; ADDR, in hexadecimal, is where the first of its text is, and with a plus
            sign how far all of it was moved.
        folders: where the modules of a log may have been built.

    Raises:
        ImageError: there is no such file, or nothing tells where it is.
    """
    for folder in folders:
        if folder.path == Path(named):
            return _of_folder(folder)
    path, where = _split(named)
    if not path.is_file():
        raise ImageError(
            f"{printable(str(path))} is no file" if path.exists() else
            f"{printable(str(path))} does not exist",
            "Give FILE or FILE@ADDRESS, the address in hexadecimal: bios.bin@0xe0000.",
        )  # fmt: skip
    shown, data = read_bounded(path, _LARGEST, ImageError)
    if data.startswith(b"\x7fELF"):
        return ExtraImages(fixed=tuple(_of_elf(Image.open(path), where)))
    log = FirmwareLog(path, folders)
    log.grown()
    if log.recognized or not data:
        return ExtraImages(logs=(log,))
    if b"\0" not in data[:_HEAD]:
        try:
            return ExtraImages(fixed=(_of_symbols(Kallsyms.parse(data, path=shown), where),))
        except KallsymsError:
            pass  # a raw binary may be anything
    if where is None:
        raise ImageError(
            f"{shown} is no ELF file, and nothing tells where the guest has it",
            f"Give its address: {shown}@0x…",
        )
    end = where.address + len(data)
    if not data or end > _WRAP:
        raise ImageError(f"{shown} has {len(data)} bytes, which do not fit at {where.address:#x}")
    name = printable(path.name)
    raw = LoadedImage(name, ImageKind.FIRMWARE, where.address, end, path=shown)
    return ExtraImages(fixed=(ExtraImage(raw, BytesMemory([(where.address, data)])),))


@dataclass(frozen=True, slots=True)
class _Where:
    """Where an image is: the address of its text, or how far all of it was moved."""

    address: int
    moved: bool = False

    def of(self, start: int) -> int:
        """The address of its text, which begins at a link address."""
        return (start + self.address) % _WRAP if self.moved else self.address


def _split(named: str) -> tuple[Path, _Where | None]:
    path, at, address = named.rpartition("@")
    if not at or Path(named).exists():
        return Path(named), None
    number = _ADDRESS.fullmatch(address)
    if number is None:
        return Path(named), None
    return Path(path), _Where(int(number[2], 16), bool(number[1]))


def _of_elf(image: Image, where: _Where | None) -> Iterator[ExtraImage]:
    start = image.text_ranges[0][0] if image.text_ranges else 0
    for loaded in placed(image, where.of(start) if where is not None else None):
        yield ExtraImage(loaded, SlidMemory(image, loaded.slide))


def _of_symbols(text: Kallsyms, where: _Where | None) -> ExtraImage:
    start, end = text.text
    begin = start if where is None else where.of(start)
    if begin + end - start > _WRAP:
        raise ImageError(f"{text.path} does not fit at {begin:#x}")
    return ExtraImage(
        LoadedImage(
            Path(text.path).name,
            ImageKind.FIRMWARE,
            begin,
            begin + end - start,
            text.kernel,
            (begin - start) % _WRAP,
            path=text.path,
        )
    )
