"""Samples of user space, by what their process has mapped."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.profile import Profile
from gprof.profile.resolution import Resolution
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import Group, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason
from symbols.table import Symbol, SymbolTable

SHELL = LoadedImage("sh", ImageKind.USER, 0x40_0000, 0x50_0000, path="/bin/sh")
CAT = LoadedImage("cat", ImageKind.USER, 0x40_0000, 0x41_0000, path="/bin/cat")
LIBRARY = LoadedImage("libc.so.6", ImageKind.USER, 0x7F00_0000_0000, 0x7F00_0010_0000)
FACTS = SourceFacts("gdbstub", "")


def two_processes() -> tuple[TaskTable, UserSpaces]:
    tasks, spaces = TaskTable(), UserSpaces()
    for pid, name in ((5, "sh"), (6, "cat")):
        tasks.add(GuestTask(0, pid, pid, name, space=spaces.number(0, pid, 0x1000)))
    return tasks, spaces


def test_spaces_are_numbered_by_process_and_place() -> None:
    spaces = UserSpaces()
    assert [spaces.number(*key) for key in ((0, 5, 9), (0, 6, 9), (1, 5, 9), (0, 5, 9))] == [
        *(1, 2, 3, 1),
    ]
    assert len(spaces) == 4


def test_spaces_that_are_alike_share_their_layout() -> None:
    spaces = UserSpaces()
    for process in (5, 6):
        spaces.fill(spaces.number(0, process, 9), [SHELL, LIBRARY])
    assert spaces.layouts_of().tolist() == [0, 1, 1]
    assert spaces.changes == 2
    spaces.fill(1, [SHELL])  # what was there stays
    assert spaces.layouts_of().tolist() == [0, 2, 1]
    assert spaces.holds(1, LIBRARY.start)
    assert not spaces.holds(1, LIBRARY.end)
    assert not spaces.holds(99, 0x40_0000)
    assert [image.name for image in spaces.layouts[2].images] == ["libc.so.6", "sh"]
    changes = spaces.changes
    spaces.fill(1, [SHELL])
    assert spaces.changes == changes


def test_symbols_make_another_layout() -> None:
    table = SymbolTable.of([Symbol("main", 0x1000, 0x1100), Symbol("other", 0x1100, 0x1200)])
    named = replace(SHELL, table=table, slide=0x3F_F000)
    tasks, spaces = two_processes()
    spaces.fill(1, [SHELL])
    spaces.fill(2, [named])
    spaces.fill(1, [named])
    assert spaces.layouts_of().tolist()[2] == spaces.layout([named])
    samples = SampleBatch.of([0x40_0004, 0x40_0104], task=[1, 2], mode=Mode.USER)
    profile = Profile(samples, FACTS, {}, {}, tasks=tasks, user_spaces=spaces)
    assert {row.symbol for row in tabulate(profile).rows} == {"main", "other"}


def test_one_address_is_another_file_in_each_process() -> None:
    tasks, spaces = two_processes()
    pcs = [0x40_1234, 0x40_1234, 0x40_1234, LIBRARY.start, 0x1000, 0x40_1234]
    modes = [*[Mode.USER] * 5, Mode.KERNEL]
    samples = SampleBatch.of(pcs, task=[1, 2, 0, 2, 1, 1], mode=modes)
    profile = Profile(samples, FACTS, {}, {0: AddressSpace()}, tasks=tasks, user_spaces=spaces)
    known = Resolution()
    assert {row.label: row.self_weight for row in tabulate(profile, known=known).rows} == {
        "[user]": 6 - 1,
        **{row.label: 1 for row in tabulate(profile).rows if row.mode is Mode.KERNEL},
    }
    spaces.fill(1, [SHELL])
    spaces.fill(2, [CAT, LIBRARY])
    for resolution in (known, Resolution()):
        rows = tabulate(profile, known=resolution).rows
        found = {(row.module, row.label, row.reason) for row in rows if row.mode is Mode.USER}
        assert found == {
            ("sh", "[sh]+0x1000", Reason.USER_PROGRAM),
            ("cat", "[cat]+0x1000", Reason.USER_PROGRAM),
            ("libc.so.6", "[libc.so.6]+0x0", Reason.USER_PROGRAM),
            ("[user]", "[user]", Reason.USER_SPACE),
        }
    rows = tabulate(profile, group=Group.MODULE).rows
    modules = {row.module: row.task.comm for row in rows if row.task and row.mode is Mode.USER}
    assert modules == {"sh": "sh", "cat": "cat", "libc.so.6": "cat"}


def rows_of(profile: Profile, known: Resolution) -> list[tuple[object, ...]]:
    """What rows say; their addresses are those of any of the processes."""
    rows = tabulate(profile, known=known).rows
    return sorted((row.label, row.module, row.self_weight, str(row.task)) for row in rows)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40), st.data())
def test_a_kept_resolution_follows_what_is_read_later(
    drawn: list[tuple[int, int]], data: st.DataObject
) -> None:
    tasks, spaces = TaskTable(), UserSpaces()
    for pid in range(1, 9):
        tasks.add(GuestTask(0, pid, pid, f"p{pid}", space=spaces.number(0, pid, 1)))
    pcs = [0x1000 * page for _, page in drawn]
    samples = SampleBatch.of(pcs, task=[task for task, _ in drawn], mode=Mode.USER)
    whole = Profile(samples, FACTS, {}, {}, tasks=tasks, user_spaces=spaces)
    known = Resolution()
    seen = 0
    for _ in range(4):
        space = data.draw(st.integers(1, 8))
        start = 0x1000 * data.draw(st.integers(0, 8))
        name = data.draw(st.sampled_from("ab"))
        spaces.fill(space, [LoadedImage(name, ImageKind.USER, start, start + 0x2000)])
        seen = data.draw(st.integers(seen, len(drawn)))
        part = replace(whole, samples=samples.select(slice(0, seen)))
        assert rows_of(part, known) == rows_of(part, Resolution())
    assert rows_of(whole, known) == rows_of(whole, Resolution())
