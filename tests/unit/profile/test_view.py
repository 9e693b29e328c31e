"""Filters, groups and counts; every sample is in exactly one row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.profile.profile import Guest, Profile
from gprof.profile.resolution import Resolution
from gprof.profile.stacks import StackTable
from gprof.profile.view import Filter, Group, Row, SortKey, Table, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason
from symbols.table import Symbol, SymbolTable
from tests.profiles import BLOB, KERNEL, NOWHERE, USER, space, synthetic

FACTS = SourceFacts("gdbstub", "localhost:1234")
WHERE = space()
KERNEL_FUNCTIONS = {
    name: WHERE.find(name)[0].symbol.start
    for name in ("vfs_read", "filemap_read", "default_idle", "do_idle", "ext4_file_read_iter")
}
PCS = (
    *KERNEL_FUNCTIONS.values(),
    KERNEL_FUNCTIONS["vfs_read"] + 8,
    KERNEL + 0xF123,
    BLOB + 0x2345,
    BLOB + 0x2FFF,
    NOWHERE,
    USER,
)


def profile_of(batch: SampleBatch, stacks: StackTable | None = None) -> Profile:
    guests = {number: Guest(number, f"guest{number}") for number in range(2)}
    return Profile(batch, FACTS, guests, {0: WHERE, 1: WHERE}, stacks or StackTable())


def row(table: Table, label: str, mode: Mode | None = None) -> Row:
    found = [r for r in table.rows if r.label == label and mode in {None, r.mode}]
    assert len(found) == 1, [r.label for r in table.rows]
    return found[0]


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    stacks = StackTable()
    columns: list[tuple[int, int, int, int, int, int, int]] = []
    pc = st.sampled_from(PCS)
    for _ in range(draw(st.integers(0, 16))):
        frames = draw(st.lists(pc, min_size=1, max_size=5))
        stack = stacks.add(frames) if draw(st.booleans()) else 0
        columns.append(
            (
                frames[0] if draw(st.integers(0, 9)) else draw(pc),  # a stack of another pc
                stack,
                draw(st.integers(0, 1)),
                draw(st.integers(0, 2)),
                draw(st.integers(0, 7)),
                draw(st.integers(1, 2**32 - 1)),
                draw(st.integers(0, 50)),
            )
        )
    pcs, ids, guests, vcpus, modes, weights, times = (
        zip(*columns, strict=True) if columns else ((),) * 7
    )
    return profile_of(
        SampleBatch.of(
            pcs, stack=ids, guest=guests, vcpu=vcpus, mode=modes, weight=weights, time=times
        ),
        stacks,
    )


FILTERS = st.builds(
    Filter,
    pattern=st.sampled_from([None, re.compile("read"), re.compile(r"^\[kernel"), re.compile("^$")]),
    modes=st.none() | st.frozensets(st.sampled_from(list(Mode))),
    vcpus=st.none() | st.frozensets(st.integers(0, 3)),
    guests=st.none() | st.frozensets(st.integers(0, 2)),
    since_ns=st.none() | st.integers(0, 50),
    until_ns=st.none() | st.integers(0, 50),
)


@settings(max_examples=40)
@given(profiles(), FILTERS, st.sampled_from(Group))
def test_self_weights_add_up_and_never_exceed_totals(
    profile: Profile, chosen: Filter, group: Group
) -> None:
    table = tabulate(profile, chosen, group)
    assert sum(r.self_weight for r in table.rows) == table.weight
    assert all(0 <= r.self_weight <= r.total_weight <= table.weight for r in table.rows)
    assert all(r.total_weight for r in table.rows)
    assert sum(table.unresolved.values()) <= table.samples


@settings(max_examples=40)
@given(profiles(), st.sampled_from(Group))
def test_filters_by_vcpu_mode_and_time_partition_the_samples(
    profile: Profile, group: Group
) -> None:
    whole = tabulate(profile, group=group)
    for parts in (
        [Filter(vcpus=frozenset({vcpu})) for vcpu in range(3)],
        [Filter(modes=frozenset({mode})) for mode in Mode],
        [Filter(until_ns=20), Filter(since_ns=20)],
    ):
        tables = [tabulate(profile, part, group) for part in parts]
        assert sum(t.samples for t in tables) == whole.samples
        assert sum(t.weight for t in tables) == whole.weight


@settings(max_examples=40)
@given(profiles())
def test_total_counts_a_function_once_a_sample(profile: Profile) -> None:
    by_hand: dict[str, int] = {}
    samples = profile.samples
    for i in range(len(samples)):
        pc, stack = int(samples.pc[i]), profile.stacks[int(samples.stack[i])]
        above = [max(at - 1, 0) for at in stack[1:]]  # a caller is at the byte before
        frames = (pc, *above) if stack and stack[0] == pc else (pc,)
        names = {found.symbol.name for at in frames if (found := WHERE.symbol_at(at))}
        for name in names:
            by_hand[name] = by_hand.get(name, 0) + int(samples.weight[i])
    totals: dict[str, int] = {}
    for line in tabulate(profile).rows:
        if line.symbol:
            totals[line.symbol] = totals.get(line.symbol, 0) + line.total_weight
    assert totals == by_hand


def test_a_module_is_told_by_its_lowest_address_whatever_came_first() -> None:
    low, high = 0xFFFFFFFFD0001000, 0xFFFFFFFFD0009000  # where nothing is loaded
    whole, known = synthetic(0), Resolution()
    for pcs in ([high], [high, low]):
        profile = replace(whole, samples=SampleBatch.of(pcs))
        (row,) = tabulate(profile, group=Group.MODULE, known=known).rows
        assert (row.module, row.address) == ("[unknown]", min(pcs))


def test_rows_alike_but_for_guest_and_mode_keep_their_order_whatever_came_first() -> None:
    whole, known = synthetic(0), Resolution()
    both = SampleBatch.of([0xFFFFFFFF81000000] * 2)
    both.guest[:], both.mode[:] = (1, 0), (0, 1)
    for samples in (both.select(both.guest == 1), both):
        profile = replace(whole, samples=samples)
        table = tabulate(profile, group=Group.LINE, known=known)
    assert table == tabulate(profile, group=Group.LINE)
    assert [row.guest for row in table.rows] == [0, 1]


@settings(max_examples=40)
@given(profiles(), st.integers(0, 16), st.sampled_from(Group))
def test_a_kept_resolution_changes_nothing(profile: Profile, cut: int, group: Group) -> None:
    known = Resolution()
    samples = profile.samples
    first = SampleBatch(*(getattr(samples, n)[:cut] for n in SampleBatch.__slots__))
    tabulate(replace(profile, samples=first), group=group, known=known)
    pattern = Filter(pattern=re.compile("read"))
    assert tabulate(profile, group=group, known=known) == tabulate(profile, group=group)
    assert tabulate(profile, pattern, group, known) == tabulate(profile, pattern, group)
    # Another profile altogether.
    other = synthetic(20)
    assert tabulate(other, group=group, known=known) == tabulate(other, group=group)


def test_an_idle_function_is_idle_only_as_leaf_of_kernel_code() -> None:
    idle = KERNEL_FUNCTIONS["default_idle"]
    stacks = StackTable()
    interrupted = stacks.add((KERNEL_FUNCTIONS["filemap_read"], idle + 1))
    table = tabulate(
        profile_of(
            SampleBatch.of(
                [idle, KERNEL_FUNCTIONS["filemap_read"], idle],
                stack=[0, interrupted, 0],
                mode=[Mode.KERNEL, Mode.KERNEL, Mode.UNKNOWN],
            ),
            stacks,
        )
    )
    assert row(table, "default_idle", Mode.IDLE).self_weight == 1
    assert row(table, "default_idle", Mode.UNKNOWN).self_weight == 1
    above = row(table, "default_idle", Mode.KERNEL)
    assert (above.self_weight, above.total_weight) == (0, 1)


def test_the_unresolved_are_rows_by_page_with_their_reason() -> None:
    table = tabulate(
        profile_of(
            SampleBatch.of(
                [
                    *(BLOB + 0x2345, BLOB + 0x2FFF, NOWHERE, NOWHERE + 8),
                    *(KERNEL + 0xF123, USER, 0x400000),
                ],
                mode=[*[Mode.KERNEL] * 5, Mode.USER, Mode.USER],
            )
        )
    )
    assert [(r.label, r.module, r.reason, r.address, r.self_weight) for r in table.rows] == [
        ("0xffffc90000123000", "[unknown]", Reason.NO_IMAGE, NOWHERE & ~0xFFF, 2),
        ("[blob]+0x2000", "blob", Reason.NO_SYMBOLS, BLOB + 0x2000, 2),
        ("[user]", "[user]", Reason.USER_SPACE, 0, 2),
        ("[kernel]+0xf000", "[kernel]", Reason.BETWEEN_SYMBOLS, KERNEL + 0xF000, 1),
    ]
    assert table.unresolved == {
        Reason.NO_IMAGE: 2,
        Reason.NO_SYMBOLS: 2,
        Reason.BETWEEN_SYMBOLS: 1,
        Reason.USER_SPACE: 2,
    }


def test_generated_code_without_names_is_told_as_that() -> None:
    pack, beside = BLOB + (8 << 20), BLOB + (16 << 20)
    profile = profile_of(
        SampleBatch.of(
            [pack + 0x1004, pack + 0x1FF0, pack + 0x3000, beside, beside + 0x5678],
            mode=[Mode.KERNEL] * 5,
        )
    )
    where = WHERE.following((), 0)
    where.load(LoadedImage("bpf", ImageKind.GENERATED, pack, pack + (2 << 20)))
    table = tabulate(replace(profile, spaces={0: where}))
    assert [(r.label, r.module, r.address, r.self_weight) for r in table.rows] == [
        ("[bpf]+0x1000", "bpf", pack + 0x1000, 2),
        ("[generated]", "[generated]", 0, 2),
        ("[bpf]+0x3000", "bpf", pack + 0x3000, 1),
    ]
    assert table.unresolved == {Reason.GENERATED: 5}


def test_rows_say_which_guest_and_vcpu_where_there_is_one() -> None:
    read, idle = KERNEL_FUNCTIONS["vfs_read"], KERNEL_FUNCTIONS["default_idle"]
    profile = profile_of(
        SampleBatch.of([read, read, idle, read], vcpu=[0, 1, 1, 0], guest=[0, 0, 0, 1])
    )
    rows = {(r.label, r.guest): r.vcpu for r in tabulate(profile).rows}
    assert rows == {("vfs_read", 0): -1, ("default_idle", 0): 1, ("vfs_read", 1): 0}
    vcpus = tabulate(profile, group=Group.VCPU).rows
    assert [(r.label, r.guest, r.vcpu, r.mode) for r in vcpus] == [
        ("guest0 vcpu 1", 0, 1, Mode.UNKNOWN),
        ("guest0 vcpu 0", 0, 0, Mode.KERNEL),
        ("guest1 vcpu 0", 1, 0, Mode.KERNEL),
    ]
    modes = tabulate(profile, group=Group.MODE).rows
    assert [(r.label, r.guest, r.vcpu) for r in modes] == [("kernel", -1, -1), ("idle", 0, 1)]
    guests = tabulate(profile, group=Group.GUEST).rows
    assert [(r.label, r.self_weight) for r in guests] == [("guest0", 3), ("guest1", 1)]


def test_modules_split_by_mode() -> None:
    rows = tabulate(synthetic(), group=Group.MODULE).rows
    assert {(r.module, r.mode) for r in rows} == {
        ("[kernel]", Mode.KERNEL),
        ("[kernel]", Mode.IDLE),
        ("ext4", Mode.KERNEL),
        ("virtio_net", Mode.KERNEL),
        ("blob", Mode.KERNEL),
        ("[unknown]", Mode.KERNEL),
        ("[user]", Mode.USER),
    }
    assert {r.reason for r in rows if r.module == "blob"} == {Reason.NO_SYMBOLS}


def test_the_pattern_looks_at_every_frame() -> None:
    profile = synthetic(500, stacks=True)
    table = tabulate(profile, Filter(pattern=re.compile("^vfs_read$")))
    assert row(table, "vfs_read").total_weight == table.weight
    assert table.weight > row(table, "vfs_read").self_weight
    assert any(r.symbol == "filemap_read" and r.self_weight for r in table.rows)


def test_a_replaced_space_and_a_loaded_image_are_seen() -> None:
    known = Resolution()
    where = AddressSpace([LoadedImage("[kernel]", ImageKind.KERNEL, KERNEL, KERNEL + 0x10000)])
    profile = Profile(SampleBatch.of([BLOB, KERNEL]), FACTS, {}, {0: where})
    assert [r.reason for r in tabulate(profile, known=known).rows] == [
        Reason.NO_IMAGE,
        Reason.NO_SYMBOLS,
    ]
    table = SymbolTable.of([Symbol("poll", 0, 64)])
    where.load(LoadedImage("late", ImageKind.MODULE, BLOB, BLOB + 4096, table, BLOB))
    assert [r.label for r in tabulate(profile, known=known).rows] == ["[kernel]+0x0", "poll"]
    empty = replace(profile, spaces={0: AddressSpace()})
    assert {r.reason for r in tabulate(empty, known=known).rows} == {Reason.NO_KERNEL_SYMBOLS}


@pytest.mark.parametrize("key", list(SortKey))
def test_sorting_keeps_the_rows(key: SortKey) -> None:
    table = tabulate(synthetic(400, stacks=True))
    ordered = table.sorted(key)
    assert set(ordered.rows) == set(table.rows)
    assert {r.label for r in table.sorted(key, reverse=True).rows} == {r.label for r in table.rows}
    weights = [r.total_weight for r in table.sorted(SortKey.TOTAL).rows]
    assert weights == sorted(weights, reverse=True)
    names = [r.label for r in table.sorted(SortKey.SYMBOL).rows]
    assert names == sorted(names)


def test_an_empty_profile_is_an_empty_table() -> None:
    for group in Group:
        table = tabulate(Profile(SampleBatch.empty(), FACTS, {}, {}), group=group)
        assert (table.rows, table.samples, table.weight, table.unresolved) == ((), 0, 0, {})
        assert table.percent(0) == 0


@pytest.mark.parametrize("by", [SortKey.SELF, SortKey.TOTAL])
@pytest.mark.parametrize("group", [Group.SYMBOL, Group.MODULE])
@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_the_heaviest_rows_are_the_first_of_all(most: int, group: Group, by: SortKey) -> None:
    profile = synthetic(500, stacks=True)
    whole, some = tabulate(profile, group=group), tabulate(profile, group=group, most=most, by=by)
    assert len(some.rows) == min(most, len(whole.rows))
    assert some.left_out == len(whole.rows) - len(some.rows)
    assert (some.samples, some.weight, some.unresolved) == (
        whole.samples,
        whole.weight,
        whole.unresolved,
    )

    def heaviest(rows: Sequence[Row]) -> list[int]:
        weights = [row.self_weight if by is SortKey.SELF else row.total_weight for row in rows]
        return sorted(weights, reverse=True)[: len(some.rows)]

    assert heaviest(some.rows) == heaviest(whole.rows)
