"""What the addresses of a profile stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gprof.sampling.source import UInt8s
from symbols.idle import is_idle
from symbols.space import ImageKind, LoadedImage, Reason

#: Addresses without a symbol are told apart by their page: fine enough to see a hot spot, coarse
#: enough that a large image without symbols does not fill the screen.
PAGE_BITS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """A function, or what stands for addresses that have none.

    Attributes:
        guest: id of the guest.
        symbol: the function's name; None where the address has none.
        name: what is shown: the symbol, `[ext4]+0x3000`, a page's address, or `[user]`.
        module: the image's name; `[user]` or `[unknown]` where there is no image.
        kind: of the image; USER for user space, None where there is no image.
        reason: why there is no symbol.
        address: runtime start of the symbol, or of the page; 0 for all of user space, and of what
            ran before the kernel.
        era: index of the guest's `AddressSpace.eras` in which the address is that; of a function
            that several have, the last one with a sample.
        image_start: runtime start of the image; the address where there is no image.
        idle: a kernel function in which a vcpu waits.
    """

    guest: int
    symbol: str | None
    name: str
    module: str
    kind: ImageKind | None
    reason: Reason
    address: int
    image_start: int
    idle: bool
    era: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """The samples of one profile with their addresses looked up.

    Attributes:
        places: every place that the columns below number.
        own: i32, for each sample the place of its pc.
        mode: u8, for each sample its mode as shown: kernel code in an idle function is IDLE.
        path: i32, for each sample the number of its (guest, stack), -1 where it has no stack.
        frames: for each path the places of its stack, leaf first.
        pair_path: i32, path of each distinct (path, place); `pair_place` has the place.
        pair_place: i32, see there. A function that calls itself is one pair.
        nameless: i32, the places without a symbol.
    """

    places: tuple[Place, ...]
    own: NDArray[np.int32]
    mode: UInt8s
    path: NDArray[np.int32]
    frames: tuple[tuple[int, ...], ...]
    pair_path: NDArray[np.int32]
    pair_place: NDArray[np.int32]
    nameless: NDArray[np.int32]

    def select(self, which: NDArray[Any] | slice) -> Placement:
        """Samples chosen as by `SampleBatch.select`, with all places and paths."""
        return replace(self, own=self.own[which], mode=self.mode[which], path=self.path[which])


def function(guest: int, image: LoadedImage, name: str, start: int, era: int = 0) -> Place:
    """The place of a symbol at its runtime start."""
    kernel = image.kind in {ImageKind.KERNEL, ImageKind.MODULE}
    return Place(
        guest=guest,
        symbol=name,
        name=name,
        module=image.name,
        kind=image.kind,
        reason=Reason.RESOLVED,
        address=start,
        image_start=image.start,
        idle=kernel and is_idle(name),
        era=era,
    )


#: What all addresses of a reason together are called, where no image has them.
_WHOLE = {
    Reason.USER_SPACE: ("[user]", ImageKind.USER),
    Reason.FIRMWARE: ("[firmware]", ImageKind.FIRMWARE),
    Reason.BEFORE_KERNEL: ("[boot]", ImageKind.FIRMWARE),
    Reason.GENERATED: ("[generated]", ImageKind.GENERATED),
}
#: Reasons whose addresses are not told apart where no image has them.
WHOLE = frozenset(_WHOLE)


def nameless(
    guest: int, image: LoadedImage | None, reason: Reason, page: int, era: int = 0
) -> Place:
    """The place of addresses without a symbol.

    Args:
        guest: id of the guest.
        image: the image that holds them.
        reason: why they have no symbol.
        page: number of their page, counted from the image's start, or from 0 without an image.
        era: see `Place`.
    """
    offset = page << PAGE_BITS
    kind: ImageKind | None
    if reason in _WHOLE and image is None:
        name, kind = _WHOLE[reason]
        module, address = name, 0
    elif image is not None:
        name, module, kind = f"[{image.name.strip('[]')}]+{offset:#x}", image.name, image.kind
        address = image.start + offset
    else:
        name, module, kind, address = f"{offset:#x}", "[unknown]", None, offset
    return Place(
        guest=guest,
        symbol=None,
        name=name,
        module=module,
        kind=kind,
        reason=reason,
        address=address,
        image_start=image.start if image is not None else address,
        idle=False,
        era=era,
    )
