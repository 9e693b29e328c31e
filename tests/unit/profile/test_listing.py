"""Samples on instructions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.export.listing import ListingText, listing_text
from gprof.profile.listing import LARGEST, Listing, Measure, annotate
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.sampling.source import SampleBatch
from symbols.errors import SymbolsError
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic

START = 0xFFFFFFFF81000000
#: endbr64; mov $0x1000,%ecx; xor %eax,%eax; rep stosb; call callee; jmp back to the xor; ret
CODE = bytes.fromhex("f30f1efa b900100000 31c0 f3aa e8ae000000 ebf5 c3")
OFFSETS = (0, 4, 9, 11, 13, 18, 20)
CALLEE = START + 0xC0


def profile_of(batch: SampleBatch) -> Profile:
    table = SymbolTable.of(
        [Symbol("fill", START, START + len(CODE)), Symbol("callee", CALLEE, CALLEE + 16)]
    )
    image = LoadedImage("[kernel]", ImageKind.KERNEL, START, START + 0x1000, table)
    return replace(synthetic(2), samples=batch, spaces={0: AddressSpace([image])})


def listed(batch: SampleBatch, *, blocks: bool = False) -> Listing:
    profile = profile_of(batch)
    profile = replace(profile, facts=replace(profile.facts, block_starts=blocks))
    at = profile.space(0).symbol_at(START)
    assert at is not None
    return annotate(profile, at, BytesMemory([(START, CODE)]), "x86_64")


def test_samples_are_counted_on_their_instructions() -> None:
    batch = SampleBatch.of([START + 11] * 6 + [START + 4] * 3 + [START + 20] + [CALLEE] * 9)
    listing = listed(batch)
    assert [line.address - START for line in listing.lines] == list(OFFSETS)
    assert [line.samples for line in listing.lines] == [0, 3, 0, 6, 0, 0, 1]
    assert [listing.percent(line, Measure()) for line in listing.lines] == [0, 30, 0, 60, 0, 0, 10]
    assert (listing.totals.samples, listing.totals.weight) == (10, 10)
    assert listing.percent(listing.lines[3], Measure(of_all=True)) == pytest.approx(600 / 19)
    assert listing.hottest == 3
    assert b"".join(line.bytes for line in listing.lines) == CODE
    assert listing.title == f"fill  [kernel]  {START:#x}"
    (note,) = listing.notes
    assert "skid" in note


def test_targets_have_names() -> None:
    lines = listed(SampleBatch.empty()).lines
    assert (lines[4].target, lines[4].target_name) == (CALLEE, "callee")
    assert (lines[5].target, lines[5].target_name) == (START + 9, "+0x9")
    assert (lines[6].target, lines[6].target_name) == (None, "")


def test_a_pc_inside_an_instruction_counts_on_it_and_says_so() -> None:
    listing = listed(SampleBatch.of([START + 5, START + 6, START + 4]))
    assert listing.lines[1].samples == 3
    assert listing.lines[1].note == "(2 inside)"


def test_weights_and_guests() -> None:
    batch = SampleBatch.of([START, START, START + 9], weight=[5, 7, 12], guest=[0, 1, 0])
    listing = listed(batch)
    assert [line.samples for line in listing.lines][:3] == [1, 0, 1]
    assert [line.weight for line in listing.lines][:3] == [5, 0, 12]
    first = listing.lines[0]
    assert listing.percent(first, Measure(hits=True)) == 50
    assert listing.percent(first, Measure()) == pytest.approx(500 / 17)


def test_without_samples_there_is_no_hottest() -> None:
    listing = listed(SampleBatch.empty())
    assert listing.totals.samples == 0
    assert listing.hottest == -1
    assert {listing.percent(line, Measure()) for line in listing.lines} == {0.0}
    assert listing.notes == ("no samples lie in it: this is its code",)


def test_where_samples_lie_on_block_starts_shares_are_of_blocks() -> None:
    # The jump at 18 goes back to 9, so blocks begin at 0, 9, 18 (after the call) and 20.
    batch = SampleBatch.of([START] * 2 + [START + 9] * 3 + [START + 18] * 4 + [START + 11])
    listing = listed(batch, blocks=True)
    (note,) = listing.notes
    assert "translation blocks" in note
    # A sample at 11 says that the emulator began a block there.
    assert [line.samples for line in listing.lines] == [2, 0, 3, 1, 0, 4, 0]
    assert [line.block for line in listing.lines] == [0, 0, 1, 2, 2, 3, 4]
    assert listing.totals.samples == 10


def test_time_in_what_is_called_is_told_at_the_call() -> None:
    stacks = StackTable()
    outer = stacks.add((CALLEE + 4, START + 18, 0x99))
    again = stacks.add((START + 4, START + 18, START + 18))
    batch = SampleBatch.of(
        [CALLEE + 4, START + 4, START + 11], stack=[outer, again, 0], weight=[5, 2, 1]
    )
    profile = replace(profile_of(batch), stacks=stacks)
    at = profile.space(0).symbol_at(START)
    assert at is not None
    listing = annotate(profile, at, BytesMemory([(START, CODE)]), "x86_64")
    assert [line.below for line in listing.lines] == [0, 0, 0, 0, 7, 0, 0]
    assert listing.totals.inclusive == 8
    assert listing.percent_below(listing.lines[4], Measure()) == pytest.approx(700 / 8)


def test_a_function_that_only_calls_says_so() -> None:
    stacks = StackTable()
    called = stacks.add((CALLEE, START + 18))
    profile = replace(profile_of(SampleBatch.of([CALLEE] * 3, stack=called)), stacks=stacks)
    at = profile.space(0).symbol_at(START)
    assert at is not None
    listing = annotate(profile, at, BytesMemory([(START, CODE)]), "x86_64")
    assert listing.notes == ("no samples lie in it, only below its calls",)
    assert listing.lines[4].below == 3


def test_operands_have_names() -> None:
    lines = listed(SampleBatch.empty()).lines
    assert [line.text for line in lines[3:6]] == [
        "rep stosb %al, (%rdi)",
        "callq callee",
        "jmp +0x9",
    ]
    assert lines[4].raw == f"callq {CALLEE:#x}"


def test_code_that_cannot_be_read_is_an_error_with_a_remedy() -> None:
    profile = profile_of(SampleBatch.of([START]))
    at = profile.space(0).symbol_at(START)
    assert at is not None
    with pytest.raises(SymbolsError, match="The code of fill cannot be read") as caught:
        annotate(profile, at, BytesMemory([]), "x86_64")
    assert "--guestvmlinux" in caught.value.remedy


def test_a_symbol_of_any_claimed_size_is_bounded() -> None:
    end = START + (1 << 30)
    table = SymbolTable.of([Symbol("huge", START, end)])
    space = AddressSpace([LoadedImage("[kernel]", ImageKind.KERNEL, START, end, table)])
    samples = SampleBatch.of([START, START + LARGEST])
    profile = replace(synthetic(2), samples=samples, spaces={0: space})
    at = space.symbol_at(START)
    assert at is not None
    movabs = bytes.fromhex("48b80000000000000000")  # long ones are fewer
    memory = BytesMemory([(START, (movabs * LARGEST)[:LARGEST])])
    listing = annotate(profile, at, memory, "x86_64")
    assert sum(len(line.bytes) for line in listing.lines) == LARGEST
    assert listing.lines[0].samples == 1
    assert listing.totals.samples == 2
    assert len(listing.notes) == 3


@given(
    code=st.binary(min_size=1, max_size=64),
    pcs=st.lists(st.integers(0, 80), max_size=40),
    architecture=st.sampled_from(["x86_64", "aarch64", "s390x", "riscv64"]),
)
def test_every_sample_is_on_one_line_whatever_the_bytes(
    code: bytes, pcs: list[int], architecture: str
) -> None:
    table = SymbolTable.of([Symbol("f", START, START + len(code))])
    image = LoadedImage("[kernel]", ImageKind.KERNEL, START, START + 0x1000, table)
    profile = replace(
        synthetic(2),
        samples=SampleBatch.of([START + pc for pc in pcs]),
        spaces={0: AddressSpace([image])},
    )
    at = profile.space(0).symbol_at(START)
    assert at is not None
    listing = annotate(profile, at, BytesMemory([(START, code)]), architecture)
    assert sum(line.samples for line in listing.lines) == listing.totals.samples
    assert listing.totals.samples == sum(pc < len(code) for pc in pcs)
    assert b"".join(line.bytes for line in listing.lines) == code
    shown = ListingText(encodings=True, raw=True, period=True)
    assert all(text.isprintable() for text in listing_text(listing, shown))
