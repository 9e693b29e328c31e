"""The samples of one symbol: on its instructions, in its basic blocks, and below its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.profile.profile import Profile
from symbols.disassembly import Flow, Instruction
from symbols.space import SymbolAt


@dataclass(frozen=True, slots=True)
class Totals:
    """What percentages are taken of: samples, and their weight.

    Attributes:
        samples: how many lie in the symbol.
        weight: theirs.
        all_samples: how many the guest has.
        all_weight: theirs.
        inclusive: weight of the samples in the symbol or in what it calls.
    """

    samples: int = 0
    weight: int = 0
    all_samples: int = 0
    all_weight: int = 0
    inclusive: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """Samples and weight on each instruction, how many past its first byte, and on none."""

    samples: list[int]
    weights: list[int]
    inside: list[int]
    elsewhere: int

    def by_block(self, block: Sequence[int]) -> Counted:
        """The same, all of a block on its first instruction."""
        samples, weights = [0] * len(block), [0] * len(block)
        first = 0
        for i, number in enumerate(block):
            if number != block[first]:
                first = i
            samples[first] += self.samples[i]
            weights[first] += self.weights[i]
        return replace(self, samples=samples, weights=weights)


@dataclass(frozen=True, slots=True)
class Hits:
    """The samples of a symbol.

    Attributes:
        pcs: the distinct addresses in it, ascending.
        samples: how many are at each.
        weights: what they weigh.
        below: by return address inside the symbol, the weight of the samples below that call.
        totals: all of them.
    """

    pcs: NDArray[np.uint64]
    samples: NDArray[np.int64]
    weights: NDArray[np.int64]
    below: Mapping[int, int]
    totals: Totals

    @classmethod
    def of(cls, profile: Profile, at: SymbolAt, guest: int) -> Hits:
        samples = profile.samples
        start, end = at.symbol.start, at.symbol.end
        # The end may be 2^64, which no u64 holds.
        ours = samples.guest == guest
        inside = (samples.pc >= np.uint64(start)) & (samples.pc <= np.uint64(end - 1)) & ours
        pcs, which = np.unique(samples.pc[inside], return_inverse=True)
        # Weights sum as doubles: exact below 2^53.
        weights = np.bincount(which, samples.weight[inside], len(pcs)).astype(np.int64)
        below, called = _below(profile, ours, inside, start, end)
        weight = int(weights.sum())
        totals = Totals(
            int(inside.sum()),
            weight,
            int(ours.sum()),
            int(samples.weight[ours].sum(dtype=np.int64)),
            weight + called,
        )
        return cls(pcs, np.bincount(which, minlength=len(pcs)), weights, below, totals)

    def counted(self, instructions: Sequence[Instruction]) -> Counted:
        """The samples on each instruction."""
        starts = np.array([instruction.address for instruction in instructions], np.uint64)
        sizes = np.array([instruction.size for instruction in instructions], np.uint64)
        index = np.searchsorted(starts, self.pcs, side="right") - 1
        hit = index >= 0
        hit[hit] = self.pcs[hit] - starts[index[hit]] < sizes[index[hit]]
        past = hit.copy()
        past[hit] = self.pcs[hit] != starts[index[hit]]

        def summed(which: NDArray[np.bool_], amounts: NDArray[np.int64]) -> list[int]:
            on = np.bincount(index[which], amounts[which], len(instructions))
            return [int(amount) for amount in on]

        return Counted(
            summed(hit, self.samples),
            summed(hit, self.weights),
            summed(past, self.samples),
            int(self.samples[~hit].sum()),
        )


def _below(
    profile: Profile, ours: NDArray[np.bool_], inside: NDArray[np.bool_], start: int, end: int
) -> tuple[dict[int, int], int]:
    """Weight by return address in a range, and the weight of all that came through it.

    A function that calls itself is below its call, and counts once for each call.
    """
    samples = profile.samples
    taken = ours & (samples.stack > 0)
    found: dict[int, int] = {}
    through = 0
    if not taken.any():
        return found, through
    count = len(profile.stacks)
    weight = np.bincount(samples.stack[taken], samples.weight[taken], count)
    leaf = np.bincount(samples.stack[taken & inside], samples.weight[taken & inside], count)
    for number, pcs in profile.stacks.since(1):
        if number >= count:
            break  # was added meanwhile
        if not weight[number]:
            continue
        returns = {pc for pc in pcs[1:] if start < pc <= end}
        for pc in returns:
            found[pc] = found.get(pc, 0) + int(weight[number])
        if returns:
            through += int(weight[number] - leaf[number])
    return found, through


def blocks_of(instructions: Sequence[Instruction], sampled: set[int]) -> list[int]:
    """The number of each instruction's basic block.

    A block begins where something jumps to or returns to, and where the emulator began one:
    `sampled` has where samples lie.
    """
    begins = sampled | {one.target for one in instructions if one.target is not None}
    numbers: list[int] = []
    number = -1
    after = True
    for one in instructions:
        if after or one.address in begins:
            number += 1
        numbers.append(number)
        after = one.flow is not Flow.NEXT
    return numbers
