"""A guest that is reset while it is profiled: every sample by the map that held at its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from gprof.choosing import choose_symbol
from gprof.profile.listing import annotate
from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.stacks import StackTable
from gprof.profile.view import tabulate
from gprof.recording.reader import read
from gprof.recording.writer import Writer
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.errors import SymbolsError
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason
from symbols.table import Symbol, SymbolTable

LINK = 0xFFFFFFFF81000000
RESET_NS = 1000
FACTS = SourceFacts("test", "nothing")
GUEST = Guest(0, "test", "x86_64", (0,))
TABLE = SymbolTable.of(
    [Symbol("spin", LINK, LINK + 0x100), Symbol("poll", LINK + 0x100, LINK + 0x200)]
)
FIRST, SECOND = 0x10000000, 0x10000100


def kernel(slide: int, build_id: bytes = b"ours") -> LoadedImage:
    return LoadedImage(
        "[kernel]", ImageKind.KERNEL, LINK + slide, LINK + slide + 0x1000, TABLE, slide, build_id
    )


def two_boots(second: AddressSpace) -> AddressSpace:
    """The second boot begins with the address of `poll` of the first being that of `spin`."""
    first = AddressSpace([kernel(FIRST)])
    return second.following((first,), RESET_NS)


def sampled(*boots: tuple[int, int, int], stacks: StackTable | None = None) -> SampleBatch:
    times, slides, offsets = zip(*boots, strict=True)
    pcs = [LINK + slide + offset for slide, offset in zip(slides, offsets, strict=True)]
    stack = [stacks.add([pc, pcs[0] + 1]) for pc in pcs] if stacks is not None else 0
    return SampleBatch.of(pcs, time=times, stack=stack)


BOOTS = ((0, FIRST, 0x110), (999, FIRST, 0x120), (1000, SECOND, 0x10), (2000, SECOND, 0x110))


def profile_of(space: AddressSpace, stacks: StackTable | None = None) -> Profile:
    stacks = stacks or StackTable()
    samples = sampled(*BOOTS, stacks=stacks)
    return Profile(samples, FACTS, {0: GUEST}, {0: space}, stacks)


def counted(profile: Profile) -> dict[str, int]:
    return {row.label: row.self_weight for row in tabulate(profile).rows if row.self_weight}


def test_the_same_function_of_two_boots_is_one_row() -> None:
    profile = profile_of(two_boots(AddressSpace([kernel(SECOND)])))
    assert counted(profile) == {"poll": 3, "spin": 1}


def test_another_kernel_is_told_apart() -> None:
    profile = profile_of(two_boots(AddressSpace([kernel(SECOND, b"other")])))
    rows = [(row.label, row.self_weight, row.era) for row in tabulate(profile).rows]
    assert sorted(row for row in rows if row[1]) == [("poll", 1, 1), ("poll", 2, 0), ("spin", 1, 1)]


def test_callers_are_looked_up_in_the_era_of_their_sample() -> None:
    profile = profile_of(two_boots(AddressSpace([kernel(SECOND)])), StackTable())
    # All stacks have the same caller, which is `poll` in the first boot and `spin` in the second.
    totals = {row.label: row.total_weight for row in tabulate(profile).rows}
    assert totals == {"poll": 3, "spin": 2}


def test_what_was_looked_up_starts_over_with_a_new_era() -> None:
    known = Resolution()
    first = AddressSpace([kernel(FIRST)])
    before = profile_of(first)
    rows = {row.label: row.self_weight for row in tabulate(before, known=known).rows}
    assert rows == {"poll": 3, "[kernel]+0x0": 1}
    after = profile_of(AddressSpace([kernel(SECOND)]).following((first,), RESET_NS))
    rows = {row.label: row.self_weight for row in tabulate(after, known=known).rows}
    assert (rows["poll"], rows["spin"]) == (3, 1)


def test_a_kernel_that_is_not_found_yet_is_a_reason() -> None:
    profile = profile_of(two_boots(AddressSpace(starting=True)))
    assert tabulate(profile).unresolved == {Reason.STARTING: 2}
    assert counted(profile)["poll"] == 2


def test_code_before_the_kernel_is_no_user_space() -> None:
    batch = SampleBatch.of(
        [0xF1234, 0x1000000, 0x400000, 0x400000],
        mode=[Mode.FIRMWARE, Mode.KERNEL, Mode.USER, Mode.UNKNOWN],
    )
    space = AddressSpace(starting=True)
    profile = Profile(batch, FACTS, {0: GUEST}, {0: space})
    assert {(row.label, row.mode): row.self_weight for row in tabulate(profile).rows} == {
        ("[firmware]", Mode.FIRMWARE): 1,
        ("[boot]", Mode.KERNEL): 1,
        ("[user]", Mode.USER): 1,
        ("[user]", Mode.UNKNOWN): 1,
    }


def test_user_space_may_have_the_addresses_of_firmware() -> None:
    rom = LoadedImage("bios", ImageKind.FIRMWARE, 0xF0000, 0x100000)
    batch = SampleBatch.of([0xF1234] * 2, mode=[Mode.FIRMWARE, Mode.USER])
    profile = Profile(batch, FACTS, {0: GUEST}, {0: AddressSpace([rom])})
    assert counted(profile) == {"[bios]+0x1000": 1, "[user]": 1}


def test_instructions_count_the_samples_of_all_boots() -> None:
    profile = profile_of(two_boots(AddressSpace([kernel(SECOND)])))
    chosen = choose_symbol(profile, "poll")
    assert chosen.at.symbol.start == LINK + SECOND + 0x100
    code = BytesMemory([(LINK + SECOND, b"\x90" * 0x200)])
    listing = annotate(profile, chosen.at, code, "x86_64")
    assert listing.totals.samples == 3
    assert [line.samples for line in listing.lines if line.samples] == [2, 1]


def test_code_that_is_gone_is_not_read_elsewhere() -> None:
    profile = profile_of(two_boots(AddressSpace([kernel(SECOND, b"other")])))
    row = next(row for row in tabulate(profile).rows if row.era == 0 and row.self_weight)
    at = profile.symbol_at(0, row.address, row.era)
    assert at is not None
    with pytest.raises(SymbolsError, match="before it was reset"):
        annotate(profile, at, BytesMemory([(LINK + FIRST, b"\x90" * 0x200)]), "x86_64")


@pytest.mark.parametrize("build_id", [b"", b"ours"])
def test_a_recording_keeps_eras(tmp_path: Path, build_id: bytes) -> None:
    path = tmp_path / "x.gprof"
    first = AddressSpace([kernel(FIRST, build_id)])
    samples = sampled(*BOOTS)
    with Writer.open(path) as writer:
        writer.add(samples.select(samples.time < RESET_NS), StackTable())
        writer.flush(FACTS, {0: GUEST}, {0: first})
        starting = AddressSpace(starting=True, earlier=(first,), since_ns=RESET_NS)
        writer.add(samples.select(samples.time == RESET_NS), StackTable())
        writer.flush(FACTS, {0: GUEST}, {0: starting})
        assert tabulate(read(path)).unresolved == {Reason.STARTING: 1}
        # Its kernel is found later, and an unloaded module ends that era too.
        module = LoadedImage("m", ImageKind.MODULE, LINK, LINK + 0x100)
        second = AddressSpace([kernel(SECOND, build_id), module]).following((first,), RESET_NS)
        third = AddressSpace([kernel(SECOND, build_id)]).following((first, second), 1500)
        writer.add(samples.select(samples.time > RESET_NS), StackTable())
        writer.flush(FACTS, {0: GUEST}, {0: third})
    again = read(path)
    assert counted(again)["spin"] == 1
    assert counted(again)["poll"] == 3
    assert [era.since_ns for era in again.space(0).eras] == [0, RESET_NS, 1500]
    assert [len(era.images) for era in again.space(0).eras] == [1, 2, 1]


def test_eras_come_in_the_order_of_time() -> None:
    first = AddressSpace()
    second = AddressSpace().following((first,), 10)
    with pytest.raises(ValueError, match="before"):
        AddressSpace().following((first, second), 9)
