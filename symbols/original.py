"""Code as its file has it, beside what the guest runs: which instructions were rewritten."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from symbols.disassembly import Instruction, Syntax, disassemble
from symbols.elf import Image
from symbols.memory import MemoryFault
from symbols.patch_sites import PatchKind, PatchSites

_WRAP = 1 << 64
_LOW = 1 << 32
_INT3 = b"\xcc"


@dataclass(frozen=True, slots=True)
class Patch:
    """What stood where the guest runs another instruction.

    Attributes:
        kind: why it was rewritten.
        original: the instructions of the file that start there; empty where the one before
            reached over.
    """

    kind: PatchKind
    original: tuple[Instruction, ...]


class Original:
    """The file of a kernel, seen where the guest runs it.

    Args:
        image: the file.
        slide: runtime minus link address.
    """

    def __init__(self, image: Image, slide: int = 0) -> None:
        self.image = image
        self.slide = slide % _WRAP

    def read(self, address: int, size: int) -> bytes:
        """The file's bytes at runtime addresses; see `symbols.memory.Memory.read`."""
        try:
            return self.image.read(self.linked(address), size)
        except MemoryFault:
            raise MemoryFault(address, size) from None

    def linked(self, address: int) -> int:
        """A runtime address as the file has it."""
        return (address - self.slide) % _WRAP

    @cached_property
    def sites(self) -> PatchSites:
        """Where the kernel rewrites itself, at link addresses."""
        return PatchSites.of(self.image)

    def objects_at(self, addresses: NDArray[np.uint64]) -> dict[int, str]:
        """The names of the data at runtime addresses, as `jiffies` or `init_task+0x8`.

        Those where the file has none are left out.
        """
        table = self.image.objects
        linked = addresses - np.uint64(self.slide)
        section = self.image.section(".data..percpu")
        if section is not None and section.size < _LOW:
            # Linked at 0, it never moves: an address in it is an offset.
            offset = addresses - np.uint64(section.address)
            linked = np.where(offset < np.uint64(section.size), addresses, linked)
        found = {}
        rows = table.lookup(linked)
        for address, at, row in zip(
            addresses.tolist(), linked.tolist(), rows.tolist(), strict=True
        ):
            if row >= 0:
                distance = at - int(table.start[row])
                name = table.names[row]
                found[address] = f"{name}+{distance:#x}" if distance else name
        return found

    def different(self, live: bytes, file: bytes, start: int) -> NDArray[np.bool_]:  # noqa: ARG002  a module needs it
        """Which bytes differ, but for addresses that moved with the kernel.

        Args:
            live: what the guest runs.
            file: as many bytes of the file.
            start: runtime address of the first.
        """
        return _different(live, file, self.slide, little_endian=self.image.little_endian)

    def patches(
        self, running: Sequence[Instruction], architecture: str, syntax: Syntax = "att"
    ) -> dict[int, Patch]:
        """The instructions that the file has otherwise, by their address.

        Addresses that were relocated by the slide are no difference.

        Args:
            running: of the guest, without gaps between them.
            architecture: of the guest.
            syntax: of x86.
        """
        if not running:
            return {}
        start = running[0].address
        live = b"".join(instruction.code for instruction in running)
        try:
            file = self.read(start, len(live))
        except MemoryFault:
            return {}
        different = self.different(live, file, start)
        if not different.any():
            return {}
        # ppc64 alone is of either order.
        order = self.image.little_endian if architecture == "ppc64" else None
        originals = disassemble(file, start, architecture, syntax=syntax, little_endian=order)
        starts = [one.address - start for one in originals]
        found = {}
        for instruction in running:
            first = instruction.address - start
            after = first + instruction.size
            if not different[first:after].any():
                continue
            before = tuple(
                originals[bisect.bisect_left(starts, first) : bisect.bisect_left(starts, after)]
            )
            kind = self._kind(instruction, before)
            found[instruction.address] = Patch(kind, before)
        return found

    def _kind(self, instruction: Instruction, before: tuple[Instruction, ...]) -> PatchKind:
        # In the middle of what was one instruction, it fills what the new one has left.
        if self.image.architecture == "x86_64" and instruction.code == _INT3 and before:
            return PatchKind.BREAKPOINT
        listed = self.sites.kind(self.linked(instruction.address))
        return listed or PatchKind.UNKNOWN


def _different(live: bytes, file: bytes, slide: int, *, little_endian: bool) -> NDArray[np.bool_]:
    """Which bytes differ, but for addresses that moved with the kernel.

    The kernel adds the slide to absolute addresses of 32 and 64 bits in its text, and subtracts
    it from distances to what did not move, the per-cpu section (arch/x86/tools/relocs.c).
    """
    different: NDArray[np.bool_] = np.frombuffer(live, "u1") != np.frombuffer(file, "u1")
    order: Literal["little", "big"] = "little" if little_endian else "big"
    if not slide:
        return different
    for at in np.flatnonzero(different).tolist():
        if not different[at]:
            continue  # part of an address before
        for width in (8, 4):
            limit = 1 << 8 * width
            moved = {slide % limit, -slide % limit}
            for first in range(max(at - width + 1, 0), min(at, len(live) - width) + 1):
                now = int.from_bytes(live[first : first + width], order)
                was = int.from_bytes(file[first : first + width], order)
                if (now - was) % limit in moved:
                    different[first : first + width] = False
                    break
            else:
                continue
            break
    return different
