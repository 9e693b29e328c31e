"""Where the instructions of a guest are read: what runs, and the file that it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from symbols.memory import Memory, MemoryFault

if TYPE_CHECKING:  # it brings what reads ELF files
    from symbols.original import Original


@dataclass(frozen=True, slots=True)
class Code:
    """The code of one guest; a `Memory` itself.

    Attributes:
        running: the guest's memory, or what a recording kept of it; None where there is neither.
        original: the kernel's file where the guest has it; None where none was given.
    """

    running: Memory | None = None
    original: Original | None = None

    def read(self, address: int, size: int) -> bytes:
        """What runs, or what that cannot give from the file; see `symbols.memory.Memory.read`."""
        for layer in (self.running, self.original):
            if layer is not None:
                try:
                    return layer.read(address, size)
                except MemoryFault:
                    continue
        raise MemoryFault(address, size)

    def runs(self, address: int, size: int) -> bool:
        """Whether `read` gives what the guest runs, and not what its file has."""
        if self.running is None:
            return False
        try:
            self.running.read(address, size)
        except MemoryFault:
            return False
        return True
