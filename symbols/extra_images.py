"""Images beside the kernel that a person names: firmware, a boot loader, a unikernel.

`FILE[@ADDR]` names an ELF file, a raw binary at an address, a text of `nm` or System.map, or the
log of an EDK2 firmware, which tells where it has loaded each of its drivers:

- `Loading driver at 0x000BE8F0000 EntryPoint=0x000BE8F3A94 DxeCore.efi`
  (MdeModulePkg/Core/Dxe/Image/Image.c, CoreLoadImageCommon), and `Loading PEIM at` alike
  (MdeModulePkg/Core/Pei/Image/Image.c);
- `add-symbol-file /build/DEBUG/DxeCore.dll 0xBE8F1000`, the address of its text
  (ArmPkg/Library/DebugPeCoffExtraActionLib).
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from symbols.elf import Image
from symbols.errors import ImageError, KallsymsError
from symbols.files import read_bounded
from symbols.kallsyms import Kallsyms
from symbols.kernel_space import placed
from symbols.memory import BytesMemory, Memory, MemoryFault, SlidMemory
from symbols.names import printable
from symbols.space import ImageKind, LoadedImage

_WRAP = 1 << 64
_ADDRESS = re.compile(r"0[xX]([0-9a-fA-F]{1,16})")
_LOADED = re.compile(
    rb"Loading (?:driver|PEIM) at 0x([0-9A-Fa-f]{1,16}) EntryPoint=0x[0-9A-Fa-f]{1,16}"
    rb"(?: ([^\s\x00]{1,255}))?"
)
_ADD_SYMBOL_FILE = re.compile(rb"add-symbol-file ([^\r\n\x00]{1,1000}?) 0x([0-9A-Fa-f]{1,16})")
_LARGEST = 1 << 30
_HEAD = 4096
_MOST_LOADED = 4096
#: A log does not say how long a driver is. Few are longer, and the next one ends it.
_DRIVER = 1 << 20
#: How much of an image is compared with memory, around an address; and how much must be alike,
#: since loaders change addresses in the code they load.
_COMPARED = 64
_ALIKE = 48


@dataclass(frozen=True, slots=True)
class ExtraImage:
    """An image where it is, if it is there.

    Attributes:
        loaded: at its runtime addresses.
        code: its bytes at these addresses; None where they are not known.
    """

    loaded: LoadedImage
    code: Memory | None = None

    def holds(self, memory: Memory, address: int) -> bool | None:
        """Whether memory has this image's bytes around an address; None where nobody can tell.

        Args:
            memory: the guest's.
            address: in the image.
        """
        if self.code is None:
            return None
        start = max(self.loaded.start, address - _COMPARED // 2)
        size = min(_COMPARED, self.loaded.end - start)
        try:
            ours, theirs = self.code.read(start, size), memory.read(start, size)
        except MemoryFault:
            return None
        alike = sum(a == b for a, b in zip(ours, theirs, strict=True))
        return alike * _COMPARED >= _ALIKE * size


def open_extra(named: str) -> tuple[ExtraImage, ...]:
    """The images of `FILE[@ADDR]`.

    Args:
        named: the file; ADDR, in hexadecimal, is where the first of its text is.

    Raises:
        ImageError: there is no such file, or nothing tells where it is.
    """
    path, address = _split(named)
    if not path.is_file():
        raise ImageError(
            f"{printable(str(path))} is no file" if path.exists() else
            f"{printable(str(path))} does not exist",
            "Give FILE or FILE@ADDRESS, the address in hexadecimal: bios.bin@0xe0000.",
        )  # fmt: skip
    shown, data = read_bounded(path, _LARGEST, ImageError)
    if data.startswith(b"\x7fELF"):
        return tuple(_of_elf(Image.open(path), address))
    if found := _of_log(data, path.parent):
        return found
    if b"\0" not in data[:_HEAD]:
        try:
            return _of_symbols(Kallsyms.parse(data, path=shown), address)
        except KallsymsError:
            pass  # a raw binary may be anything
    if address is None:
        raise ImageError(
            f"{shown} is no ELF file, and nothing tells where the guest has it",
            f"Give its address: {shown}@0x…",
        )
    end = address + len(data)
    if not data or end > _WRAP:
        raise ImageError(f"{shown} has {len(data)} bytes, which do not fit at {address:#x}")
    name = printable(path.name)
    raw = LoadedImage(name, ImageKind.FIRMWARE, address, end, path=shown)
    return (ExtraImage(raw, BytesMemory([(address, data)])),)


def _split(named: str) -> tuple[Path, int | None]:
    path, at, address = named.rpartition("@")
    if not at or Path(named).exists():
        return Path(named), None
    number = _ADDRESS.fullmatch(address)
    return (Path(path), int(number[1], 16)) if number else (Path(named), None)


def _of_elf(image: Image, address: int | None) -> Iterator[ExtraImage]:
    for loaded in placed(image, address):
        yield ExtraImage(loaded, SlidMemory(image, loaded.slide))


def _of_symbols(text: Kallsyms, address: int | None) -> tuple[ExtraImage, ...]:
    start, end = text.text
    begin = start if address is None else address
    if begin + end - start > _WRAP:
        raise ImageError(f"{text.path} does not fit at {begin:#x}")
    loaded = LoadedImage(
        Path(text.path).name,
        ImageKind.FIRMWARE,
        begin,
        begin + end - start,
        text.kernel,
        (begin - start) % _WRAP,
        path=text.path,
    )
    return (ExtraImage(loaded),)


def _of_log(text: bytes, beside: Path) -> tuple[ExtraImage, ...]:
    """The drivers that a firmware says it has loaded; the last word on an address counts."""
    placed_at: dict[int, str] = {}
    files: dict[int, Path] = {}
    for match in _LOADED.finditer(text):
        if len(placed_at) < _MOST_LOADED:
            name = (match[2] or b"").decode("ascii", "replace")
            placed_at[int(match[1], 16)] = printable(name) or f"driver at {int(match[1], 16):#x}"
    for match in _ADD_SYMBOL_FILE.finditer(text):
        if len(files) < _MOST_LOADED:
            files[int(match[2], 16)] = Path(match[1].decode("utf-8", "surrogateescape"))
    found: list[ExtraImage] = []
    for address, path in sorted(files.items()):
        image = _debug_file(path, beside)
        if image is not None:
            found += _of_elf(image, address)
        else:
            placed_at.setdefault(address, printable(path.name))
    starts = sorted(placed_at)
    for start, following in itertools.pairwise([*starts, _WRAP]):
        end = min(following, start + _DRIVER)
        if start < end:
            name = placed_at[start]
            found.insert(0, ExtraImage(LoadedImage(name, ImageKind.FIRMWARE, start, end)))
    return tuple(found)


def _debug_file(path: Path, beside: Path) -> Image | None:
    """The ELF file of a driver: where the log says it was built, or beside the log."""
    for candidate in (path, beside / path.name, beside / f"{path.stem}.debug"):
        # The guest has written the log: it may name a device or a pipe.
        with contextlib.suppress(ImageError, OSError, ValueError):
            if candidate.is_file():
                return Image.open(candidate)
    return None
