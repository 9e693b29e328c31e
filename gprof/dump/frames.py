"""Frames of a stack by name: function, module, and what was inlined where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from symbols.lines_of_space import SpaceLines
from symbols.names import printable
from symbols.source_frames import Chain
from symbols.space import AddressSpace
from symbols.unwinding.stack import Stack


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        address: of the next instruction, or the one to return to.
        name: the function; empty where it has none.
        offset: of the address from the function's start.
        module: the image that it is in; empty where in none.
        source: the source lines there, the function inlined deepest first; empty where unknown.
    """

    address: int
    name: str
    offset: int
    module: str
    source: Chain = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """As it is shown: functions that were inlined first, each on a line of its own."""
        inlined = tuple(f"{one.function or '?'} (inlined) at {one}" for one in self.source[:-1])
        at = f" at {self.source[-1]}" if self.source else ""
        if not self.name:
            place = f" [{self.module.strip('[]')}]" if self.module else ""
            return (*inlined, f"{self.address:#x}{place}{at}")
        module = f" [{self.module}]" if self.module not in {"", "[kernel]"} else ""
        return (*inlined, f"{self.name}+{self.offset:#x}{module}{at}")

    def content(self) -> dict[str, Any]:
        """For programs."""
        return {
            "address": f"{self.address:#x}",
            "symbol": printable(self.name) or None,
            "offset": self.offset,
            "module": printable(self.module) or None,
            "source": [
                {"function": one.function or None, "file": one.file, "line": one.line or None}
                for one in self.source
            ],
        }


def name_frames(
    space: AddressSpace,
    stacks: Sequence[Stack],
    lines: SpaceLines | None = None,
    *,
    returning: bool = False,
) -> list[tuple[Frame, ...]]:
    """The frames of each stack, leaf first.

    Args:
        space: what is loaded where.
        stacks: of one guest.
        lines: where source lines come from; None to do without.
        returning: the first pc of each is a return address too, as that of a task asleep.
    """
    places = [_places(stack, returning=returning) for stack in stacks]
    chains: dict[int, Chain] = {}
    if lines is not None:
        chains = lines.find(space, {at for pairs in places for _, at in pairs})
    return [tuple(_frame(space, pc, at, chains.get(at, ())) for pc, at in ps) for ps in places]


def _places(stack: Stack, *, returning: bool) -> list[tuple[int, int]]:
    """Each pc, and an address inside the instruction that was at work there."""
    pairs = zip(stack.pcs, stack.after, strict=True)
    return [
        (pc, after - 1 if (number or returning) and after else pc)
        for number, (pc, after) in enumerate(pairs)
    ]


def _frame(space: AddressSpace, pc: int, at: int, source: Chain) -> Frame:
    found = space.symbol_at(at)
    if found is not None:
        return Frame(pc, found.symbol.name, pc - found.symbol.start, found.image.name, source)
    image = space.image_at(pc)
    return Frame(pc, "", 0, image.name if image is not None else "", source)
