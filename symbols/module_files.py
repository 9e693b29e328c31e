"""The file that a loaded module came from: found by name, proven by its build id.

Distributions keep modules below lib/modules/RELEASE, compressed or not, and their debugging
symbols below usr/lib/debug, as `.ko` (Debian, Ubuntu) or `.ko.debug` (Fedora, SUSE). The kernel
takes `-` in a file's name for `_` (scripts/Makefile.lib, name-fix).
"""

from __future__ import annotations

import gzip
import lzma
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

import numpy as np

from symbols.elf import Image
from symbols.errors import ImageError, MismatchError
from symbols.names import printable
from symbols.space import ImageKind, LoadedImage
from symbols.table import SymbolTable

if TYPE_CHECKING:  # it brings what knows the kernel's structures
    from symbols.module_list import ListedModule

#: Where a directory, such as a guest's root, may keep modules; the best symbols first.
_PLACES = (
    "usr/lib/debug/lib/modules/{release}",
    "usr/lib/debug/usr/lib/modules/{release}",
    "lib/modules/{release}",
    "usr/lib/modules/{release}",
    "{release}",
    "",
)
_FILE = re.compile(r"(?P<name>[^/]{1,200})\.ko(?P<debug>\.debug)?(?:\.(?P<packed>xz|zst|gz))?")
#: A distribution has 7,000 modules in 1,500 directories.
_MOST_FILES = 100_000
_MOST_DIRECTORIES = 20_000
#: The largest module with its debugging symbols has 200 MiB.
_LARGEST_MODULE = 1 << 30
_PIECE = 1 << 20


class ModuleFiles:
    """Files of modules below some directories; they are listed when first asked for.

    Args:
        directories: roots of guests, or directories of modules.
        release: what `uname -r` prints in the guest; without it only directories of modules.
    """

    def __init__(self, directories: Sequence[str | os.PathLike[str]], release: str = "") -> None:
        self._directories = [Path(directory) for directory in directories]
        # A release comes from the guest, and must not lead anywhere else.
        self._release = release if re.fullmatch(r"[\w.+~-]{1,64}", release) else ""
        self._files: dict[str, list[Path]] | None = None

    def candidates(self, name: str) -> tuple[Path, ...]:
        """Every file that may be the module's, the likeliest first.

        Args:
            name: as the kernel has it.
        """
        if self._files is None:
            self._files = {}
            for path in self._listed():
                found = _FILE.fullmatch(path.name)
                if found is not None:
                    known = self._files.setdefault(found["name"].replace("-", "_"), [])
                    if path not in known:
                        known.append(path)
        return tuple(self._files.get(name.replace("-", "_"), ()))

    def find(self, name: str, build_id: bytes) -> Image | None:
        """The file of a module, or None.

        Args:
            name: as the kernel has it.
            build_id: of the module that is loaded; a file of another build is none of it.
                Where it is empty, nothing proves a file, and the first readable one is taken.
        """
        for path in self.candidates(name):
            try:
                image = open_module(path)
            except ImageError:
                continue
            if image.relocatable and (not build_id or image.build_id == build_id):
                return image
        return None

    def _listed(self) -> Iterator[Path]:
        files = 0
        for directory in self._directories:
            for place in _PLACES:
                if "{release}" in place and not self._release:
                    continue
                root = directory / place.format(release=self._release)
                # The directory itself holds modules, or is a root of which we know the places.
                if not place and any((directory / known).is_dir() for known in ("lib", "usr")):
                    continue
                for number, (parent, inner, names) in enumerate(os.walk(root)):
                    inner.sort()
                    files += len(names)
                    if number > _MOST_DIRECTORIES or files > _MOST_FILES:
                        return
                    yield from (Path(parent, name) for name in sorted(names) if ".ko" in name)


def open_module(path: str | os.PathLike[str]) -> Image:
    """A module's file, compressed or not.

    Raises:
        ImageError: it is missing, damaged, or no module.
    """
    shown = printable(os.fspath(path))
    packed = _FILE.fullmatch(Path(path).name)
    if packed is None or packed["packed"] is None:
        return Image.open(path)
    try:
        with Path(path).open("rb") as stream, tempfile.TemporaryFile() as unpacked:
            head = _unpack(stream, packed["packed"], unpacked)
            if head != b"\x7fELF":
                raise ImageError(
                    f"{shown} does not hold an ELF file", "Give the module's own file."
                )
            return Image(shown, os.dup(unpacked.fileno()))
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as damaged:
        raise ImageError(
            f"{shown} cannot be decompressed: {printable(str(damaged))}",
            "Copy it again and compare the sizes.",
        ) from None


def _unpack(packed: BinaryIO, kind: str, into: IO[bytes]) -> bytes:
    """Decompress a stream, and return the first four bytes of what comes out."""
    if kind == "xz":
        with lzma.open(packed) as reader:
            return _copy(reader.read, into)
    if kind == "gz":
        with gzip.open(packed) as reader:
            return _copy(reader.read, into)
    import zstandard  # noqa: PLC0415 - only where a file is compressed with it

    try:
        return _copy(zstandard.ZstdDecompressor().stream_reader(packed).read, into)
    except zstandard.ZstdError as damaged:  # has no class in common with the others
        raise ValueError(str(damaged)) from None


def _copy(read: Callable[[int], bytes], into: IO[bytes]) -> bytes:
    head = b""
    size = 0
    while piece := read(_PIECE):
        head = head or piece[:4]
        size += len(piece)
        if size > _LARGEST_MODULE:
            raise ValueError(f"it has more than {_LARGEST_MODULE >> 20} MiB")
        into.write(piece)
    into.flush()
    return head


def image_of_module(image: Image, module: ListedModule, sections: Mapping[str, int]) -> LoadedImage:
    """A module's own file where the guest has it, section by section.

    Args:
        image: the file.
        module: where the guest has it.
        sections: runtime addresses, from `module_sections`.

    Raises:
        MismatchError: no section of the file is in the module's text.
    """
    table = image.table
    start = np.empty(0, np.uint64)
    end = np.empty(0, np.uint64)
    rows = np.empty(0, np.int64)
    for section in image.sections:
        runtime = sections.get(section.name)
        if runtime is None or not section.executable or not section.size:
            continue
        if not module.text[0] <= runtime <= runtime + section.size <= module.text[1]:
            continue  # .init.text is gone, and other code may be where it was
        first, after = np.searchsorted(
            table.start, np.array([section.address, section.address + section.size], np.uint64)
        )
        here = np.arange(first, after)
        moved = np.uint64((runtime - section.address) % (1 << 64))
        rows = np.append(rows, here)
        start = np.append(start, table.start[here] + moved)
        end = np.append(end, np.minimum(table.end[here] + moved, np.uint64(runtime + section.size)))
    if not len(rows):
        raise MismatchError(
            f"{image.path} is not the {module.name} that the guest has loaded: none of its "
            "sections is in the module's text",
            "Give the file of the same build, from the package of the guest's kernel.",
        )
    # Sections that claim one another's place would give an address two names.
    order = np.argsort(start, kind="stable")
    order = order[np.append(True, start[order][1:] != start[order][:-1])]
    return LoadedImage(
        module.name,
        ImageKind.MODULE,
        *module.text,
        SymbolTable(start[order], end[order], table.names.take(rows[order])),
        build_id=image.build_id,
        path=image.path,
    )
