"""The instructions of one symbol, each with the samples that lie on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from gprof.profile.hits import Hits, Totals, blocks_of
from gprof.profile.one_place import in_one_place
from gprof.profile.profile import Profile
from symbols.disassembly import Flow, Instruction, Syntax, disassemble
from symbols.errors import SymbolsError
from symbols.memory import Memory, MemoryFault
from symbols.operands import named_operands
from symbols.original import Original, Patch
from symbols.source_frames import Chain
from symbols.space import AddressSpace, SymbolAt

#: No function of a kernel comes near; a symbol table can claim anything.
LARGEST = 1 << 16

_BLOCK_STARTS = "samples lie on starts of translation blocks: shares are of whole blocks"
_SKID = "a vcpu stops late: the time may be that of the instruction before (skid)"
_ONLY_BELOW = "no samples lie in it, only below its calls"
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
    the symbol is too long to be listed whole, are told in a note, and belong to the total. Where
    the guest had the function elsewhere in other eras, its samples of then are counted too.

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
    space = profile.space(guest)
    if space.earlier and space.image_at(symbol.start) is not at.image:
        raise SymbolsError(
            f"The code of {symbol.name} was in the guest before it was reset, or before a module "
            "was unloaded.",
            "Functions that are still there can be listed.",
        )
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
    hits = Hits.of(in_one_place(profile, at, guest), at, guest)
    blocks = profile.facts.block_starts
    counted = hits.counted(instructions)
    block = blocks_of(instructions, set(hits.pcs.tolist()) if blocks else set())
    if blocks:
        counted = counted.by_block(block)
    if hits.totals.samples:
        notes.insert(0, _BLOCK_STARTS if blocks else _SKID)
    else:
        notes.append(_ONLY_BELOW if hits.below else _NO_SAMPLES)
    if counted.elsewhere:
        notes.append(f"{counted.elsewhere:,} samples lie on no instruction that is listed")
    patches = original.patches(instructions, architecture, syntax) if original else {}
    if patches:
        # What fills the rest of a longer one is no patch of its own.
        count = sum(bool(patch.original) for patch in patches.values())
        notes.append(
            f"{count} instruction{'s' * (count != 1)} of the file were rewritten: these run"
        )
    before = (one for patch in patches.values() for one in patch.original)
    names = _names(profile.space(guest), at, chain(instructions, before), original)

    def text(one: Instruction) -> str:
        return f"{one.mnemonic} {named_operands(one, names.get)}".rstrip()

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
            target_name="" if one.target is None else names.get(one.target, f"{one.target:#x}"),
            block=block[i],
            patch=patches.get(one.address),
            was=was(patches.get(one.address)),
            note=f"({counted.inside[i]:,} inside)" if counted.inside[i] and not blocks else "",
        )
        for i, one in enumerate(instructions)
    )
    return Listing(at, guest, lines, hits.totals, blocks, tuple(notes))


def _names(
    space: AddressSpace,
    at: SymbolAt,
    instructions: Iterable[Instruction],
    original: Original | None,
) -> dict[int, str]:
    """The names of the addresses that instructions mention, all looked up at once."""
    wanted: set[int] = set()

    def want(address: int) -> None:
        wanted.add(address)

    for one in instructions:
        named_operands(one, want)
        if one.target is not None:
            wanted.add(one.target)
    start, end = at.symbol.start, at.symbol.end
    names = {address: f"+{address - start:#x}" for address in wanted if start < address < end}
    others = np.array(sorted(wanted - names.keys()), np.uint64)
    found = space.resolve(others)
    known = found.symbol >= 0
    for address, image, row in zip(
        others[known].tolist(), found.image[known].tolist(), found.symbol[known].tolist(),
        strict=True,
    ):  # fmt: skip
        symbol = space.symbol(image, row).symbol
        offset = address - symbol.start
        names[address] = f"{symbol.name}+{offset:#x}" if offset else symbol.name
    if original is not None:
        names |= original.objects_at(others[~known])
    return names


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
