"""Signs that the kernel a guest was found with is still there, and where it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from gprof.attach import Attached
from symbols.memory import Memory, gather

#: Bytes of each sign that stays: enough of a banner to have the release in it.
_LENGTH = 64
#: A `struct list_head` of 64 bits: the first module and the last one.
_HEAD = 16
_BANNER = b"Linux version "
#: Where a kernel has what tells it from another.
_SIGNS = ("linux_banner", "__start_notes")


def has_signs(attached: Attached) -> bool:
    """Whether the kernel of a guest has anything to be known by, as its symbols tell.

    A program without an operating system has nothing of the kind, nor has a kernel of which only
    functions are known: of these memory does not tell whether they are still there.
    """
    return any(attached.known_kernel.address_of(name) is not None for name in _SIGNS)


class Seen(Enum):
    """What a look at the guest's memory told."""

    SAME = 1
    CHANGED = 2  # the same kernel, with other modules
    GONE = 3  # something else is there
    HIDDEN = 4  # nothing can be read there now, as from a vcpu in user mode


@dataclass(slots=True)
class KernelSigns:
    """What the memory of a guest holds as long as it runs this kernel, here.

    Attributes:
        stays: address and bytes of what does not change: the banner, the build id.
        modules: address of the list of modules; 0 where it is not known.
        head: its bytes when it was read last.
    """

    stays: tuple[tuple[int, bytes], ...]
    modules: int = 0
    head: bytes = b""

    @classmethod
    def of(cls, attached: Attached, memory: Memory) -> Self | None:
        """The signs of a guest's kernel as it is now; None where it has none.

        Args:
            attached: the guest.
            memory: its own, fresh.
        """
        if attached.slide is None:
            return None
        known = attached.known_kernel
        places = [place for place in map(known.address_of, _SIGNS) if place is not None]
        modules = known.address_of("modules") or 0
        wanted = [(place, _LENGTH) for place in places] + [(modules, _HEAD)]
        *stays, head = gather(memory, wanted)
        there = tuple(
            (place, data) for place, data in zip(places, stays, strict=True) if data is not None
        )
        banner = known.address_of(_SIGNS[0])
        if any(place == banner and not data.startswith(_BANNER) for place, data in there):
            return None
        return cls(there, modules, head or b"") if there else None

    def look(self, memory: Memory) -> Seen:
        """Whether the kernel is still there; remembers the list of modules.

        Args:
            memory: the guest's, fresh.
        """
        wanted = [(place, len(data)) for place, data in self.stays] + [(self.modules, _HEAD)]
        *stays, head = gather(memory, wanted)
        if None in stays:
            return Seen.HIDDEN
        if stays != [data for _, data in self.stays]:
            return Seen.GONE
        before, self.head = self.head, head or b""
        return Seen.SAME if before == self.head else Seen.CHANGED
