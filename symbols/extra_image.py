"""An image beside the kernel, where it is, if it is there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from symbols.memory import Memory, MemoryFault, SlidMemory, gather
from symbols.space import LoadedImage

_WRAP = 1 << 64
#: How much of an image is compared with memory, around an address; and how much must be alike,
#: since loaders change addresses in the code they load.
_COMPARED = 64
_ALIKE = 48
#: How much of memory is looked for in an image that may have moved; in runs of so many bytes, that
#: begin so many bytes apart.
_SOUGHT = 256
_RUN, _STEP = 12, 8
#: What a processor begins with after a reset: sixteen bytes below 4 GiB (x86).
_ENTRY = 16
#: A run of fewer different bytes is padding.
_DISTINCT = 6
#: Where more bytes than this are not alike, as a table of addresses is, what was moved has ended;
#: and so many are read at once.
_UNLIKE = 512
_ROW = 2048
#: Less than this two programs may have in common, as of one library.
_LEAST = 4096
#: Longer images are not looked for.
_LARGEST = 8 << 20


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
        return _alike(ours, theirs)

    def moved(self, memory: Memory, address: int) -> ExtraImage | None:
        """The part of this image that was copied to elsewhere; None where it was not.

        Firmware and loaders move themselves: SeaBIOS its code of the start to high memory
        (src/post.c, reloc_preinit), U-Boot all of itself to the end of memory. What they change
        on the way are addresses in the code.

        Args:
            memory: the guest's.
            address: outside the image, where something runs.
        """
        size = self.loaded.end - self.loaded.start
        if self.code is None or size > _LARGEST:
            return None
        try:
            ours = self.code.read(self.loaded.start, size)
        except MemoryFault:
            return None
        # What follows may be another's, or nothing, as behind a reset vector.
        for begin in (address, max(address - _SOUGHT + _ENTRY, 0)):
            (theirs,) = gather(memory, [(begin, _SOUGHT)])
            place = _found(ours, theirs) if theirs is not None else None
            if place is not None:
                break
        else:
            return None
        at = place + address - begin
        first, end = _extent(ours, memory, at, address)
        if not first <= at < end or end - first < min(_LEAST, size // 2):
            return None
        start = address - at + first
        if not 0 <= start < start + end - first <= _WRAP:
            return None
        distance = start - self.loaded.start - first
        loaded = replace(
            self.loaded,
            start=start,
            end=start + end - first,
            slide=(self.loaded.slide + distance) % _WRAP,
        )
        return ExtraImage(loaded, SlidMemory(self.code, distance))


def _alike(ours: bytes, theirs: bytes) -> bool:
    same = sum(a == b for a, b in zip(ours, theirs, strict=True))
    return same * _COMPARED >= _ALIKE * len(ours)


def _found(ours: bytes, theirs: bytes) -> int | None:
    """Where in an image the bytes of memory are; None where they are not, or at several places."""
    places: set[int] = set()
    for at in range(0, len(theirs) - _RUN, _STEP):
        run = theirs[at : at + _RUN]
        if len(set(run)) < _DISTINCT:
            continue
        first = ours.find(run)
        if first >= at and ours.find(run, first + 1) < 0:
            places.add(first - at)
    alike = [
        place
        for place in places
        if place + len(theirs) <= len(ours) and _alike(ours[place : place + len(theirs)], theirs)
    ]
    return alike[0] if len(alike) == 1 else None


def _extent(ours: bytes, memory: Memory, at: int, address: int) -> tuple[int, int]:
    """Where what is alike around a place of an image begins in the image, and what lies behind."""
    low = high = at
    for end in range(at, 0, -_ROW):
        start = max(0, end - _ROW)
        same = _same(ours, memory, start, end, address - at)
        for piece in reversed(same):
            if low - piece <= _COMPARED + _UNLIKE:
                low = piece
        if low > start + _UNLIKE:
            break
    for start in range(at, len(ours), _ROW):
        end = min(start + _ROW, len(ours))
        for piece in _same(ours, memory, start, end, address - at):
            if piece - high <= _UNLIKE:
                high = min(piece + _COMPARED, end)
        if high < end - _UNLIKE:
            break
    return low, high


def _same(ours: bytes, memory: Memory, start: int, end: int, distance: int) -> list[int]:
    """Which pieces of a row of an image memory has too, by where they begin."""
    pieces = [(at, min(_COMPARED, end - at)) for at in range(start, end, _COMPARED)]
    theirs = gather(memory, [(at + distance, size) for at, size in pieces if at + distance >= 0])
    pieces = pieces[len(pieces) - len(theirs) :]
    return [
        at
        for (at, size), there in zip(pieces, theirs, strict=True)
        if there is not None and _alike(ours[at : at + size], there)
    ]
