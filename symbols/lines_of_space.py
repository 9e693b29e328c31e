"""Source lines at the addresses of a running guest, whatever file they come from."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable

import numpy as np

from symbols.elf import Image
from symbols.errors import ImageError
from symbols.lines import SourceLines
from symbols.lines_cache import LineCache
from symbols.source_frames import Chain
from symbols.space import AddressSpace, LoadedImage
from symbols.table import SymbolTable

_WRAP = 1 << 64


class SpaceLines:
    """The source lines of everything that is loaded in a guest. Any thread may ask.

    Args:
        cache: where lines are kept between runs; None for nowhere.
    """

    def __init__(self, cache: LineCache | None = None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._files: dict[tuple[str, bytes], SourceLines] = {}
        self._moves: dict[tuple[str, int], tuple[tuple[int, int, int], ...] | None] = {}

    def find(self, space: AddressSpace, pcs: Iterable[int]) -> dict[int, Chain]:
        """The chain of each address, innermost function first; empty where nothing is known.

        Args:
            space: what is loaded where.
            pcs: runtime addresses. For the line of a call give an address inside it, such as
                the byte before the return address.
        """
        found: dict[int, Chain] = {}
        wanted: dict[SourceLines, dict[int, int]] = {}
        distinct = np.fromiter(set(pcs), np.uint64)
        numbers = space.resolve(distinct).image.tolist()
        images = space.images
        for pc, number in zip(distinct.tolist(), numbers, strict=True):
            found[pc] = ()
            if number < 0:
                continue
            loaded = images[number]
            linked = self._linked(loaded, pc)
            if linked is not None:
                wanted.setdefault(self._file(loaded), {})[pc] = linked
        for lines, linked_of in wanted.items():
            chains = lines.find(linked_of.values())
            found |= {pc: chains[linked] for pc, linked in linked_of.items()}
        return found

    def why(self, loaded: LoadedImage) -> str:
        """Why nothing is known of an image's lines; empty where something is, or nobody asked."""
        if not loaded.path:
            return f"no file of {loaded.name} was given"
        return self._file(loaded).why

    def close(self) -> None:
        """End what was started."""
        with self._lock:
            files = list(self._files.values())
        for lines in files:
            lines.close()

    def _file(self, loaded: LoadedImage) -> SourceLines:
        key = (loaded.path, loaded.build_id)
        with self._lock:
            if key not in self._files:
                self._files[key] = SourceLines(loaded.path, loaded.build_id, self._cache)
            return self._files[key]

    def _linked(self, loaded: LoadedImage, pc: int) -> int | None:
        """An address as the image's file has it; None where that cannot be known."""
        if not loaded.path and not loaded.build_id:
            return None
        linked = (pc - loaded.slide) % _WRAP
        if loaded.slide or not _may_be_module(loaded):
            return linked
        key = (loaded.path, loaded.start)
        if key not in self._moves:
            self._moves[key] = moves_of(loaded)
        moves = self._moves[key]
        if moves is None:
            return linked
        return next((linked + by for start, end, by in moves if start <= linked < end), None)


def _may_be_module(loaded: LoadedImage) -> bool:
    return ".ko" in loaded.path.rpartition("/")[2] and loaded.table is not None


def moves_of(
    loaded: LoadedImage, image: Image | None = None
) -> tuple[tuple[int, int, int], ...] | None:
    """Where the sections of a module's file are in the guest: start, end, and how far to its file.

    The kernel puts each section where it likes; what both sides name the same tells where. None
    for a file that is linked.

    Args:
        loaded: the module.
        image: its file; opened here where None.
    """
    if loaded.table is None:
        return ()
    try:
        image = image or Image.open(loaded.path)
    except ImageError:
        return ()
    if not image.relocatable:
        return None
    runtime = {
        name: (start + loaded.slide) % _WRAP for name, start in _starts(loaded.table).items()
    }
    found = []
    for section in image.sections:
        if not section.executable or not section.size:
            continue
        votes = Counter(
            start - runtime[name]
            for name, start in _starts(image.table).items()
            if name in runtime and section.address <= start < section.address + section.size
        )
        if votes:
            ((by, _),) = votes.most_common(1)
            found.append((section.address - by, section.address - by + section.size, by))
    return tuple(found)


def _starts(table: SymbolTable) -> dict[str, int]:
    """Where each name starts that only one symbol has."""
    names = [table.names[i] for i in range(len(table))]
    counted = Counter(names)
    return {
        name: start
        for name, start in zip(names, table.start.tolist(), strict=True)
        if counted[name] == 1
    }
