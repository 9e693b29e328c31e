"""The instructions of one symbol, each with the samples that lie on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gprof.profile.profile import Profile
from symbols.disassembly import Instruction, disassemble
from symbols.errors import SymbolsError
from symbols.memory import Memory, MemoryFault
from symbols.space import AddressSpace, SymbolAt

#: No function of a kernel comes near; a symbol table can claim anything.
LARGEST = 1 << 16

_BLOCK_STARTS = "samples lie on the starts of translation blocks: read shares per block"


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction.

    Attributes:
        address: where the guest has it.
        samples: weight of the samples whose pc lies in it.
        percent: of all samples in the symbol.
        bytes: its encoding.
        text: mnemonic and operands.
        target: the address that it jumps to or calls; None where it does not, or where that is
            known only at run time.
        target_name: that address as `symbol+0x1c`, or `+0x1c` inside the same symbol; empty
            where there is none.
        note: what must be known of its samples; mostly empty.
    """

    address: int
    samples: int
    percent: float
    bytes: bytes
    text: str
    target: int | None
    target_name: str
    note: str


@dataclass(frozen=True, slots=True)
class Listing:
    """A symbol's instructions in the order of their addresses.

    Attributes:
        title: the symbol, its image, its address.
        lines: the instructions.
        total: weight of all samples in the symbol, the base of the percentages.
        notes: sentences that must be shown with it.
    """

    title: str
    lines: tuple[Line, ...]
    total: int
    notes: tuple[str, ...]

    @property
    def hottest(self) -> int:
        """Index of the line with the most samples, the first of equals; -1 where none has any."""
        most = max((line.samples for line in self.lines), default=0)
        return next((i for i, line in enumerate(self.lines) if most and line.samples == most), -1)


def annotate(
    profile: Profile,
    at: SymbolAt,
    memory: Memory,
    architecture: str,
    *,
    guest: int = 0,
    syntax: Literal["att", "intel"] = "att",
) -> Listing:
    """Disassemble a symbol and count the samples on its instructions.

    A pc inside an instruction is counted on that instruction. Samples that lie on none, because
    the symbol is too long to be listed whole, are told in a note, and belong to the total. Where
    the guest had the function elsewhere in other eras, its samples of then are counted too.

    Args:
        profile: whose samples to count.
        at: the symbol, at its runtime addresses.
        memory: its code; the guest's, or that of its file loaded where the guest has it.
        architecture: of the guest, as `Guest.architecture`.
        guest: id of the guest.
        syntax: `att` or `intel`; only x86 has two.

    Raises:
        SymbolsError: the code cannot be read, or the architecture's instructions not be shown.
    """
    symbol = at.symbol
    space = profile.space(guest)
    if space.earlier and space.image_at(symbol.start) is not at.image:
        raise SymbolsError(
            f"The code of {symbol.name} was in the guest before it was reset, or before a module "
            "was unloaded.",
            "Functions that are still there can be listed.",
        )
    size = symbol.end - symbol.start
    notes = [_BLOCK_STARTS] if profile.facts.block_starts else []
    if size > LARGEST:
        notes.append(f"the symbol has {size:,} bytes: only the first {LARGEST:,} are listed")
    try:
        code = memory.read(symbol.start, min(size, LARGEST))
    except MemoryFault as fault:
        raise SymbolsError(
            f"The code of {symbol.name} cannot be read: {fault}.",
            "Give the kernel's ELF file with --guestvmlinux, or look while the guest runs.",
        ) from fault
    pcs, weights = samples_in(profile, at, guest)
    instructions = disassemble(code, symbol.start, architecture, syntax=syntax)
    counted, inside, elsewhere = _counted(pcs, weights, instructions)
    if elsewhere:
        notes.append(f"{elsewhere:,} samples lie on no instruction that is listed")
    total = int(weights.sum())
    lines = tuple(
        Line(
            address=instruction.address,
            samples=samples,
            percent=100.0 * samples / total if total else 0.0,
            bytes=instruction.code,
            text=f"{instruction.mnemonic} {instruction.operands}".rstrip(),
            target=instruction.target,
            target_name=_target_name(instruction.target, at, space),
            note=f"({within:,} inside)" if within else "",
        )
        for instruction, samples, within in zip(instructions, counted, inside, strict=True)
    )
    title = f"{symbol.name}  {at.image.name}  {symbol.start:#x}"
    return Listing(title, lines, total, tuple(notes))


def samples_in(
    profile: Profile, at: SymbolAt, guest: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct pcs in a symbol, ascending, and the weight of the samples at each.

    Args:
        profile: whose samples.
        at: the symbol; samples in it of other eras are given at the addresses of this one.
        guest: id of the guest.
    """
    samples, space = profile.samples, profile.space(guest)
    ours = np.flatnonzero(samples.guest == guest)
    era_of = space.era_at(samples.time[ours])
    found, weight = [np.empty(0, np.uint64)], [np.empty(0, np.uint32)]
    for number, era in enumerate(space.eras):
        there = era.counterpart(at) if space.earlier else at
        if there is None:
            continue
        symbol = there.symbol
        here = ours[era_of == number]
        # The end may be 2^64, which no u64 holds.
        here = here[samples.pc[here] >= np.uint64(symbol.start)]
        here = here[samples.pc[here] <= np.uint64(symbol.end - 1)]
        moved = np.uint64((at.symbol.start - symbol.start) % (1 << 64))
        found.append(samples.pc[here] + moved)
        weight.append(samples.weight[here])
    pcs, which = np.unique(np.concatenate(found), return_inverse=True)
    # Weights sum as doubles: exact below 2^53.
    weights = np.bincount(which, np.concatenate(weight), len(pcs))
    return pcs, weights.astype(np.int64)


def _counted(
    pcs: NDArray[np.uint64], weights: NDArray[np.int64], instructions: list[Instruction]
) -> tuple[list[int], list[int], int]:
    """Weight on each instruction, how much of it past its first byte, and the weight on none."""
    starts = np.array([instruction.address for instruction in instructions], np.uint64)
    sizes = np.array([instruction.size for instruction in instructions], np.uint64)
    index = np.searchsorted(starts, pcs, side="right") - 1
    hit = index >= 0
    hit[hit] = pcs[hit] - starts[index[hit]] < sizes[index[hit]]
    past = hit.copy()
    past[hit] = pcs[hit] != starts[index[hit]]
    length = len(instructions)
    on = np.bincount(index[hit], weights[hit], length).astype(np.int64)
    inside = np.bincount(index[past], weights[past], length).astype(np.int64)
    return on.tolist(), inside.tolist(), int(weights[~hit].sum())


def _target_name(target: int | None, at: SymbolAt, space: AddressSpace) -> str:
    if target is None:
        return ""
    if at.symbol.start < target < at.symbol.end:
        return f"+{target - at.symbol.start:#x}"
    found = space.symbol_at(target)
    if found is None:
        return f"{target:#x}"
    offset = target - found.symbol.start
    return f"{found.symbol.name}+{offset:#x}" if offset else found.symbol.name
