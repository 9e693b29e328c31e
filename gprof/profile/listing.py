"""The instructions of one symbol, each with the samples that lie on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.profile.profile import Profile
from symbols.disassembly import Flow, Instruction, Syntax, disassemble
from symbols.errors import SymbolsError
from symbols.memory import Memory, MemoryFault
from symbols.operands import named_operands
from symbols.original import Original, Patch
from symbols.source_frames import Chain
from symbols.space import SymbolAt

#: No function of a kernel comes near; a symbol table can claim anything.
LARGEST = 1 << 16

_BLOCK_STARTS = "samples lie on starts of translation blocks: shares are of whole blocks"
_SKID = "a vcpu stops late: the time may be that of the instruction before (skid)"
_NO_SAMPLES = "no samples lie in it: this is its code"


@dataclass(frozen=True, slots=True)
class Measure:
    """What percentages are of.

    Attributes:
        of_all: the base is all samples of the guest; else those of the symbol.
        hits: samples count alike; else by their weight, perf's period.
    """

    of_all: bool = False
    hits: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction.

    Attributes:
        address: where the guest has it.
        bytes: its encoding.
        raw: mnemonic and operands as the disassembler writes them.
        text: the same with the names of addresses in their place.
        samples: how many samples are on it; where they lie on block starts, in its block, and
            told at the first instruction only.
        weight: their weight.
        below: weight of the samples in what it calls, by their call stacks.
        flow: what comes after it.
        target: the address that it jumps to or calls; None where it does not, or where that is
            known only at run time.
        target_name: that address as `symbol+0x1c`, or `+0x1c` inside the same symbol; empty
            where there is none.
        block: number of its basic block.
        patch: what the file has in its place; None where that is the same, or unknown.
        was: the text of that; empty where an instruction before reached over.
        chain: its source, innermost function first; empty where unknown.
        note: what must be known of its samples; mostly empty.
    """

    address: int
    bytes: bytes
    raw: str
    text: str
    samples: int = 0
    weight: int = 0
    below: int = 0
    flow: Flow = Flow.NEXT
    target: int | None = None
    target_name: str = ""
    block: int = 0
    patch: Patch | None = None
    was: str = ""
    chain: Chain = ()
    note: str = ""


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
class Listing:
    """A symbol's instructions in the order of their addresses.

    Attributes:
        at: the symbol.
        guest: id of the guest.
        lines: the instructions.
        totals: what percentages are of.
        blocks: samples are told by basic block.
        notes: sentences that must be shown with it.
    """

    at: SymbolAt
    guest: int
    lines: tuple[Line, ...]
    totals: Totals
    blocks: bool = False
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The symbol, its image, its address."""
        return f"{self.at.symbol.name}  {self.at.image.name}  {self.at.symbol.start:#x}"

    @property
    def hottest(self) -> int:
        """Index of the line with the most samples, the first of equals; -1 where none has any."""
        most = max((line.weight for line in self.lines), default=0)
        return next((i for i, line in enumerate(self.lines) if most and line.weight == most), -1)

    def percent(self, line: Line, measure: Measure) -> float:
        """The share of the samples on a line."""
        return self.share(line.samples, line.weight, measure)

    def share(self, samples: int, weight: int, measure: Measure) -> float:
        """The share of some samples: percent."""
        totals = self.totals
        if measure.hits:
            return _percent(samples, totals.all_samples if measure.of_all else totals.samples)
        return _percent(weight, totals.all_weight if measure.of_all else totals.weight)

    def percent_below(self, line: Line, measure: Measure) -> float:
        """The share of the samples in what a line calls, of those in the symbol and below."""
        totals = self.totals
        return _percent(line.below, totals.all_weight if measure.of_all else totals.inclusive)

    def with_sources(self, chains: Mapping[int, Chain]) -> Listing:
        """The same with the source of each address."""
        lines = tuple(replace(line, chain=chains.get(line.address, ())) for line in self.lines)
        return replace(self, lines=lines)


def annotate(
    profile: Profile,
    at: SymbolAt,
    memory: Memory,
    architecture: str,
    *,
    guest: int = 0,
    syntax: Syntax = "att",
    original: Original | None = None,
) -> Listing:
    """Disassemble a symbol and count the samples on its instructions.

    A pc inside an instruction is counted on that instruction. Samples that lie on none, because
    the symbol is too long to be listed whole, are told in a note, and belong to the total.

    Args:
        profile: whose samples to count.
        at: the symbol, at its runtime addresses.
        memory: its code; the guest's, or that of its file loaded where the guest has it.
        architecture: of the code, as `disassemble` takes it.
        guest: id of the guest.
        syntax: only x86 has two.
        original: the kernel's file, to tell what the guest has rewritten.

    Raises:
        SymbolsError: the code cannot be read, or the architecture's instructions not be shown.
    """
    symbol = at.symbol
    size = symbol.end - symbol.start
    notes = []
    if size > LARGEST:
        notes.append(f"the symbol has {size:,} bytes: only the first {LARGEST:,} are listed")
    try:
        code = memory.read(symbol.start, min(size, LARGEST))
    except MemoryFault as fault:
        raise SymbolsError(
            f"The code of {symbol.name} cannot be read: {fault}.",
            "Give the kernel's ELF file with --guestvmlinux, or look while the guest runs.",
        ) from fault
    # ppc64 alone is of either order; arm64 reads instructions in one, whatever its data's is.
    order = original.image.little_endian if original and architecture == "ppc64" else None
    instructions = disassemble(code, symbol.start, architecture, syntax=syntax, little_endian=order)
    hits = _Hits.of(profile, at, guest)
    blocks = profile.facts.block_starts
    counted = hits.counted(instructions)
    block = _blocks(instructions, set(hits.pcs.tolist()) if blocks else set())
    if blocks:
        counted = counted.by_block(block)
    if hits.totals.samples:
        notes.insert(0, _BLOCK_STARTS if blocks else _SKID)
    else:
        notes.append(_NO_SAMPLES)
    if counted.elsewhere:
        notes.append(f"{counted.elsewhere:,} samples lie on no instruction that is listed")
    patches = original.patches(instructions, architecture, syntax) if original else {}
    if patches:
        # What fills the rest of a longer one is no patch of its own.
        count = sum(bool(patch.original) for patch in patches.values())
        notes.append(
            f"{count} instruction{'s' * (count != 1)} of the file were rewritten: these run"
        )
    name_of = _namer(profile, at, guest, original)

    def text(one: Instruction) -> str:
        return f"{one.mnemonic} {named_operands(one, name_of)}".rstrip()

    def was(patch: Patch | None) -> str:
        return "; ".join(map(text, patch.original)) if patch is not None else ""

    lines = tuple(
        Line(
            address=one.address,
            bytes=one.code,
            raw=f"{one.mnemonic} {one.operands}".rstrip(),
            text=text(one),
            samples=counted.samples[i],
            weight=counted.weights[i],
            below=hits.below.get(one.address + one.size, 0) if one.flow is Flow.CALL else 0,
            flow=one.flow,
            target=one.target,
            target_name="" if one.target is None else name_of(one.target) or f"{one.target:#x}",
            block=block[i],
            patch=patches.get(one.address),
            was=was(patches.get(one.address)),
            note=f"({counted.inside[i]:,} inside)" if counted.inside[i] and not blocks else "",
        )
        for i, one in enumerate(instructions)
    )
    return Listing(at, guest, lines, hits.totals, blocks, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Counted:
    """Samples and weight on each instruction, how many past its first byte, and on none."""

    samples: list[int]
    weights: list[int]
    inside: list[int]
    elsewhere: int

    def by_block(self, block: Sequence[int]) -> _Counted:
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
class _Hits:
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
    def of(cls, profile: Profile, at: SymbolAt, guest: int) -> _Hits:
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

    def counted(self, instructions: Sequence[Instruction]) -> _Counted:
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

        return _Counted(
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


def _blocks(instructions: Sequence[Instruction], sampled: set[int]) -> list[int]:
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


def _namer(
    profile: Profile, at: SymbolAt, guest: int, original: Original | None
) -> Callable[[int], str | None]:
    """What gives the name of an address, each looked up once."""
    space = profile.space(guest)
    start, end = at.symbol.start, at.symbol.end
    known: dict[int, str | None] = {}

    def look_up(address: int) -> str | None:
        if start < address < end:
            return f"+{address - start:#x}"
        found = space.symbol_at(address)
        if found is not None:
            offset = address - found.symbol.start
            return f"{found.symbol.name}+{offset:#x}" if offset else found.symbol.name
        return original.object_at(address) if original is not None else None

    def name_of(address: int) -> str | None:
        if address not in known:
            known[address] = look_up(address)
        return known[address]

    return name_of


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
