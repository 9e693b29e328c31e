"""What is written is read again."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.guest.vcpu_threads import VcpuTime
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.recording.reader import read
from gprof.recording.writer import Writer, save
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.memory import MemoryFault
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic
from tests.unit.recording.read_again import FACTS, assert_alike, stacks_of

EVERY_FACT = SourceFacts(
    *(
        "qmp",
        "/run/vm.sock",
        499.0,
        480.5,
        10**10,
        4990,
        10**8,
        10**7,
        7,
        3,
        2,
        1,
        ("a note",),
        True,
    ),
    *("orc", {"user": 12, "no_rule": 3}, {0: VcpuTime(10**9, 10**8), 2: VcpuTime(5, 0)}),
)


@pytest.mark.parametrize("stacks", [False, True])
def test_a_profile_comes_back(tmp_path: Path, stacks: bool) -> None:
    profile = replace(synthetic(600, stacks), facts=EVERY_FACT)
    path = tmp_path / "x.gprof"
    save(profile, path)
    again = read(path)
    assert_alike(again, profile)
    assert again.facts == EVERY_FACT
    symbol = again.space(0).find("clear_page_erms")[0].symbol
    assert again.texts[0].read(symbol.start, 4) == bytes.fromhex("f30f1efa")
    image = again.space(0).images[0]
    assert (image.build_id, image.path) == (profile.space(0).images[0].build_id, "vmlinux")


def test_every_fact_is_kept() -> None:
    defaults = SourceFacts("", "")
    same = [
        f.name
        for f in fields(SourceFacts)
        if getattr(EVERY_FACT, f.name) == getattr(defaults, f.name)
    ]
    assert not same, "give these another value in EVERY_FACT, so that the round trip shows them"


COMMS = st.sampled_from(["sh", "", "kworker/0:1", "a\\x1b[2J", "été"])
NAMES = st.sampled_from(["do_idle", "", "x" * 3000, "\x1b[31m", "été", "\udcff", "a.b<c>"])


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    address = st.integers(0, 2**64 - 1)
    images = []
    for number in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, 2**64 - 2**20) | st.just(2**64 - 0x1000))
        end = draw(st.integers(start + 1, min(start + 2**16, 2**64)))
        starts = draw(st.lists(st.integers(0, 2**12), max_size=5))
        table = SymbolTable.of(
            [Symbol(draw(NAMES), at, at + draw(st.integers(1, 600))) for at in starts]
        )
        images.append(
            LoadedImage(
                f"image{number}",
                draw(st.sampled_from(ImageKind)),
                start,
                end,
                draw(st.sampled_from([None, table])),
                start,
                draw(st.binary(max_size=20)),
            )
        )
    near = [st.integers(i.start, i.end - 1) for i in images]
    near.append(st.integers(0, 2**47))
    pc = st.one_of(address, *near)
    stacks = StackTable()
    frames = draw(st.lists(st.lists(pc, min_size=1, max_size=5), max_size=12))
    kept = [stacks.add(f) if draw(st.booleans()) else 0 for f in frames]
    n = len(frames)
    numbers = {
        name: draw(st.lists(st.integers(0, 2 ** (8 * size) - 1), min_size=n, max_size=n))
        for name, size in (("vcpu", 2), ("mode", 1), ("weight", 4))
    }
    tasks, spaces = TaskTable(), UserSpaces()
    for number in range(draw(st.integers(0, 3))):
        space = spaces.number(0, number, 0)
        if draw(st.booleans()):
            at = draw(st.integers(0, 2**47))
            table = SymbolTable.of([Symbol("main", 0x10, 0x900), Symbol("b", 0x900, 0x1000)])
            program = LoadedImage(
                "sh", ImageKind.USER, at, at + 0x5000, draw(st.sampled_from([None, table])), at
            )
            spaces.fill(space, [program])
    drawn = []
    for pid, comm in draw(st.lists(st.tuples(st.integers(0, 2**32 - 1), COMMS), max_size=4)):
        guest, kernel_thread = draw(st.integers(0, 1)), draw(st.booleans())
        space = draw(st.integers(0, 4))
        drawn.append(GuestTask(guest, pid, pid // 2, comm, kernel_thread, space))
    unknown = [0, 99, 2**32 - 1]
    choices: list[int | GuestTask] = draw(
        st.lists(st.sampled_from([*unknown, *drawn]), min_size=n, max_size=n)
    )
    numbers["task"] = [one if isinstance(one, int) else tasks.add(one) for one in choices]
    numbers["guest"] = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    numbers["time"] = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n))
    half = draw(st.sampled_from([(1 << 63, 2**64 - 1), (0, 1 << 47), (5, 4)]))
    return Profile(
        SampleBatch.of([f[0] for f in frames], stack=kept, **numbers),
        replace(FACTS, notes=tuple(draw(st.lists(st.sampled_from(["a", "b"]), max_size=3)))),
        {0: Guest(0, "web1", "aarch64", (0, 3), "6.1", b"\x01\x02")},
        {0: AddressSpace(images, kernel_half=half)},
        stacks,
        started_ns=draw(st.integers(0, 2**62)),
        tasks=tasks,
        user_spaces=spaces,
    )


@settings(max_examples=40)
@given(profiles())
def test_any_profile_comes_back(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gprof"
    save(profile, path, force=True)
    again = read(path)
    assert_alike(again, profile)
    assert again.facts == profile.facts


def test_stacks_of_several_tables_are_renumbered(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    first, second = StackTable(), StackTable()
    first.add([1, 2])
    second.add([3, 4])
    second.add([1, 2])
    with Writer.open(path) as writer:
        writer.add(SampleBatch.of([1], stack=[1]), first)
        writer.flush(FACTS, {}, {})
        writer.add(SampleBatch.of([3, 1], stack=[1, 2]), second)
        writer.flush(FACTS, {}, {})
    again = read(path)
    assert stacks_of(again) == [(1, 2), (3, 4), (1, 2)]
    assert again.samples.stack.tolist() == [1, 2, 1]


def test_texts_that_overlap_do_not_confuse(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with Writer.open(path) as writer:
        writer.add_text(0, 0x1000, b"abcdefgh")
        writer.add_text(0, 0x1004, b"XXXX")
        writer.add_text(0, 0x1008, b"ij")
    memory = read(path).texts[0]
    assert memory.read(0x1000, 10) == b"abcdefghij"
    with pytest.raises(MemoryFault):
        memory.read(0x1008, 3)


def test_large_profiles_are_cut_into_frames(tmp_path: Path) -> None:
    n = 300_000
    batch = SampleBatch.of(range(n), mode=2)
    path = tmp_path / "x.gprof"
    save(Profile(batch, FACTS, {}, {}), path)
    assert np.array_equal(read(path).samples.pc, batch.pc)
