"""The address space of one guest: what is loaded where, and what an address means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from intervaltree import Interval, IntervalTree
from numpy.typing import NDArray

from symbols.table import Symbol, SymbolTable

#: Link-time and runtime addresses differ by a slide that may be negative: sums are modulo 2^64.
_WRAP = 1 << 64
#: So near to a module, or to generated text with a name, there is nothing else that the kernel
#: runs: the area that modules are loaded into is searched from its beginning on.
_NEAR = 64 << 20


class ImageKind(IntEnum):
    """What a loaded image is. Stored in recordings: never renumber."""

    KERNEL = 1
    MODULE = 2
    GENERATED = 3  # text that the kernel made at run time: BPF programs, trampolines
    FIRMWARE = 4
    USER = 5


class Reason(IntEnum):
    """Why an address has no symbol. Stored in recordings: never renumber."""

    RESOLVED = 0
    NO_KERNEL_SYMBOLS = 1
    NO_IMAGE = 2
    NO_SYMBOLS = 3
    BETWEEN_SYMBOLS = 4
    USER_SPACE = 5
    STARTING = 6
    FIRMWARE = 7
    BEFORE_KERNEL = 8
    USER_PROGRAM = 9
    FIRMWARE_IMAGE = 10
    GENERATED = 11

    @property
    def sentence(self) -> str:
        """The reason as shown to people."""
        return _SENTENCES[self]

    @property
    def expected(self) -> bool:
        """Nothing failed: what runs there is not the kernel's."""
        return self in _EXPECTED


_SENTENCES = {
    Reason.RESOLVED: "resolved",
    Reason.NO_KERNEL_SYMBOLS: "no symbols of the kernel were given",
    Reason.NO_IMAGE: "outside every known image",
    Reason.NO_SYMBOLS: "its image has no symbols",
    Reason.BETWEEN_SYMBOLS: "between the symbols of its image",
    Reason.USER_SPACE: "guest user space",
    Reason.STARTING: "the guest was starting, and its kernel was not found yet",
    Reason.FIRMWARE: "firmware or a boot loader, without paging",
    Reason.BEFORE_KERNEL: "before the kernel: firmware, a boot loader or a decompressor",
    Reason.FIRMWARE_IMAGE: "a part of the firmware, or a loader, whose symbols are not known",
    Reason.USER_PROGRAM: "a program of the guest, whose symbols are not known",
    Reason.GENERATED: "generated code that the kernel does not name: BPF or a trampoline",
}


#: Of images without symbols; else they lack them for no reason that their kind tells.
_WITHOUT_SYMBOLS = {
    ImageKind.FIRMWARE: Reason.FIRMWARE_IMAGE,
    ImageKind.GENERATED: Reason.GENERATED,
}
_EXPECTED = frozenset(
    {Reason.USER_SPACE, Reason.USER_PROGRAM, Reason.FIRMWARE, Reason.BEFORE_KERNEL}
)


class Running(IntEnum):
    """How a processor ran the code at an address: what an address means may depend on it."""

    UNKNOWN = 0
    USER = 1  # with a user's rights
    PRIVILEGED = 2  # with a kernel's rights: never user space
    BARE = 3  # with a kernel's rights and without paging


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image at the addresses where the guest has it.

    Attributes:
        name: `[kernel]`, a module's name, a file's name; safe to show.
        kind: what it is.
        start: first runtime address.
        end: the runtime address after its last.
        table: its symbols at link-time addresses; None where only its range is known.
        slide: runtime minus link-time address, modulo 2^64.
        build_id: of the ELF file; empty where unknown.
        path: the file that the symbols came from; empty where there is none.
    """

    name: str
    kind: ImageKind
    start: int
    end: int
    table: SymbolTable | None = None
    slide: int = 0
    build_id: bytes = b""
    path: str = ""


@dataclass(frozen=True, slots=True)
class SymbolAt:
    """A symbol at its runtime addresses, and the image it is in."""

    symbol: Symbol
    image: LoadedImage


@dataclass(frozen=True, slots=True)
class Resolved:
    """What each of an array of addresses means, as columns.

    Attributes:
        image: index into `AddressSpace.images`, -1 where none.
        symbol: index into that image's table, -1 where none.
        offset: address minus the symbol's start, or minus the image's where there is no symbol;
            the address itself where there is no image.
        reason: a `Reason`.
    """

    image: NDArray[np.int32]
    symbol: NDArray[np.int64]
    offset: NDArray[np.uint64]
    reason: NDArray[np.uint8]


class AddressSpace:
    """Everything loaded in one guest. What is loaded later wins over what lay there before.

    A space holds from `since_ns` on; `earlier` are those that held before, which a reset, another
    kernel or an unloaded module ended. Together they are the guest's eras.

    Args:
        images: what is loaded, in order of loading.
        kernel_half: first and last address of the half that belongs to the kernel, inclusive;
            outside it an address that no image holds is user space.
        since_ns: from when on it holds; see `SampleBatch.time`. Nobody asks it of the first.
        earlier: what held before, the oldest first.
        starting: the guest has just been started; its kernel may not even be there yet.
    """

    def __init__(
        self,
        images: Iterable[LoadedImage] = (),
        *,
        kernel_half: tuple[int, int] = (1 << 63, _WRAP - 1),
        since_ns: int = 0,
        earlier: tuple[AddressSpace, ...] = (),
        starting: bool = False,
    ) -> None:
        if len(earlier) > 1 and since_ns < earlier[-1].since_ns:
            raise ValueError("an era begins before the one that it follows")
        self.kernel_half = kernel_half
        self.since_ns: int = since_ns
        self.earlier = earlier
        self.starting = starting
        self._images: list[LoadedImage] = []
        self._tree = IntervalTree()
        self._flat: tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int32]] | None = None
        for image in images:
            self.load(image)

    @property
    def images(self) -> tuple[LoadedImage, ...]:
        """Every image ever loaded, in order; a `Resolved.image` indexes this."""
        return tuple(self._images)

    @property
    def eras(self) -> tuple[AddressSpace, ...]:
        """The spaces that held one after the other, this one last."""
        return (*self.earlier, self)

    def era_at(self, times: NDArray[np.int64]) -> NDArray[np.intp]:
        """For each time the index in `eras` of the space that held then."""
        starts = np.array([era.since_ns for era in self.eras[1:]], np.int64)
        return np.searchsorted(starts, times, side="right")

    def following(
        self, earlier: tuple[AddressSpace, ...], since_ns: int, *, starting: bool | None = None
    ) -> AddressSpace:
        """The same images as an era that begins at a time, after others."""
        space = AddressSpace(
            kernel_half=self.kernel_half,
            since_ns=since_ns,
            earlier=earlier,
            starting=self.starting if starting is None else starting,
        )
        space._images, space._tree = list(self._images), self._tree.copy()
        return space

    def loaded(self) -> Iterator[LoadedImage]:
        """The images that still hold some of their range, by address."""
        seen: set[int] = set()
        for interval in sorted(self._tree):
            if interval.data not in seen:
                seen.add(interval.data)
                yield self._images[interval.data]

    def load(self, image: LoadedImage) -> None:
        """Put an image at its range; what lay there is cut away."""
        if not 0 <= image.start < image.end <= _WRAP:
            raise ValueError(f"{image.name} has the range {image.start:#x} to {image.end:#x}")
        self._tree.chop(image.start, image.end)
        self._tree.add(Interval(image.start, image.end, len(self._images)))
        self._images.append(image)
        self._flat = None

    def unload(self, start: int, end: int) -> None:
        """Forget what lies in a range, as when a module is removed."""
        self._tree.chop(start, end)
        self._flat = None

    def image_at(self, address: int) -> LoadedImage | None:
        """The image that holds an address."""
        found = self._tree.at(address)
        return self._images[next(iter(found)).data] if found else None

    def resolve(
        self, addresses: NDArray[np.uint64], running: Running = Running.UNKNOWN
    ) -> Resolved:
        """What each address means. Costs most by the number of addresses: pass distinct ones.

        Args:
            addresses: of instructions.
            running: how the processor ran all of them. User space may use the addresses that
                firmware has before there is a kernel; and a processor without paging sees
                neither a kernel's addresses nor a user's.
        """
        image = self._image_of(addresses)
        if running is Running.USER and any(i.kind is ImageKind.FIRMWARE for i in self._images):
            firmware = np.array([i.kind is ImageKind.FIRMWARE for i in self._images])
            image[(image >= 0) & firmware[image]] = -1
        symbol = np.full(len(addresses), -1, np.int64)
        offset = addresses.copy()
        reason = np.full(len(addresses), Reason.NO_IMAGE, np.uint8)
        low, high = self.kernel_half
        in_kernel = (addresses >= np.uint64(low)) & (addresses <= np.uint64(high))
        reason[~in_kernel] = Reason.USER_SPACE
        if not any(loaded.kind == ImageKind.KERNEL for loaded in self._images):
            reason[in_kernel] = Reason.STARTING if self.starting else Reason.NO_KERNEL_SYMBOLS
        else:
            unknown = np.flatnonzero(in_kernel & (image < 0))
            reason[unknown[self._near_modules(addresses[unknown])]] = Reason.GENERATED
        if running is Running.PRIVILEGED:
            reason[~in_kernel] = Reason.BEFORE_KERNEL
        elif running is Running.BARE:
            reason[:] = Reason.FIRMWARE
        for number in np.flatnonzero(np.bincount(image[image >= 0])):
            loaded = self._images[number]
            here = np.flatnonzero(image == number)
            offset[here] = addresses[here] - np.uint64(loaded.start)
            if loaded.table is None or not len(loaded.table):
                reason[here] = _WITHOUT_SYMBOLS.get(loaded.kind, Reason.NO_SYMBOLS)
                continue
            linked = addresses[here] - np.uint64(loaded.slide % _WRAP)
            index = loaded.table.lookup(linked)
            hit = index >= 0
            symbol[here] = index
            offset[here[hit]] = linked[hit] - loaded.table.start[index[hit]]
            reason[here] = np.where(hit, Reason.RESOLVED, Reason.BETWEEN_SYMBOLS)
        return Resolved(image, symbol, offset, reason)

    def symbol_at(self, address: int) -> SymbolAt | None:
        """The symbol that holds one address."""
        found = self.resolve(np.array([address], np.uint64))
        if found.symbol[0] < 0:
            return None
        return self.symbol(int(found.image[0]), int(found.symbol[0]))

    def symbol(self, image: int, index: int) -> SymbolAt:
        """The symbol that a `Resolved` names by its image and its index, at runtime addresses."""
        loaded = self._images[image]
        if loaded.table is None:
            raise ValueError(f"{loaded.name} has no symbols")
        linked = loaded.table[index]
        return SymbolAt(
            Symbol(
                linked.name,
                (linked.start + loaded.slide) % _WRAP,
                # An end of exactly 2^64 is a valid end: only the last byte wraps.
                (linked.end - 1 + loaded.slide) % _WRAP + 1,
            ),
            loaded,
        )

    def counterpart(self, at: SymbolAt) -> SymbolAt | None:
        """The same function of the same image, where this space has it; None where it does not.

        Args:
            at: from another era.
        """
        for loaded in self.loaded():
            if (loaded.name, loaded.kind, loaded.build_id) != (
                at.image.name, at.image.kind, at.image.build_id
            ):  # fmt: skip
                continue
            found = self.symbol_at((at.symbol.start - at.image.start + loaded.start) % _WRAP)
            if found is not None and found.symbol.name == at.symbol.name:
                return found
        return None

    def find(self, name: str) -> list[SymbolAt]:
        """Every symbol of that name in what is loaded now, by address."""
        found = []
        for loaded in self.loaded():
            if loaded.table is not None:
                number = self._images.index(loaded)
                found += [self.symbol(number, i) for i in loaded.table.names.find(name)]
        return sorted(found, key=lambda at: at.symbol.start)

    def _near_modules(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which addresses lie where the kernel loads modules, and makes text beside them."""
        kinds = [image.kind in {ImageKind.MODULE, ImageKind.GENERATED} for image in self._images]
        begin, last, data = self._columns()
        there = np.array(kinds, np.bool_)[data]
        begin, last = begin[there], last[there]
        if not len(begin):
            return np.zeros(len(addresses), np.bool_)
        # Of those before an address the last ends nearest to it, of those behind the first begins.
        at = np.searchsorted(begin, addresses, side="right")
        before, behind = np.maximum(at - 1, 0), np.minimum(at, len(begin) - 1)
        near: NDArray[np.bool_] = (at > 0) & (addresses - last[before] <= np.uint64(_NEAR))
        near |= (at < len(begin)) & (begin[behind] - addresses <= np.uint64(_NEAR))
        return near

    def _image_of(self, addresses: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The image index of each address, or -1."""
        begin, last, data = self._columns()
        if not len(begin):
            return np.full(len(addresses), -1, np.int32)
        at = np.searchsorted(begin, addresses, side="right") - 1
        inside = (at >= 0) & (addresses <= last[np.maximum(at, 0)])
        return np.where(inside, data[np.maximum(at, 0)], np.int32(-1)).astype(np.int32)

    def _columns(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int32]]:
        """The tree flattened: first and last address of each piece, and the index of its image."""
        if self._flat is None:
            intervals = sorted(self._tree)
            self._flat = (
                np.array([i.begin for i in intervals], np.uint64),
                np.array([i.end - 1 for i in intervals], np.uint64),
                np.array([i.data for i in intervals], np.int32),
            )
        return self._flat
