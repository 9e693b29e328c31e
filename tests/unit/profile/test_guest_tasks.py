"""Tasks in a table, and profiles looked at by task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.profile.filter import Filter
from gprof.profile.profile import Guest, Profile
from gprof.profile.tasks import UNKNOWN_TASK, GuestTask, TaskTable
from gprof.profile.view import TASK_GROUPS, Group, SortKey, tabulate
from gprof.sampling.source import Mode, SampleBatch, SourceFacts
from tests.profiles import synthetic

SHELL = GuestTask(0, 77, 77, "sh")
THREAD = GuestTask(0, 79, 77, "helper")
WORKER = GuestTask(0, 9, 9, "kworker/0:1", kernel_thread=True)
IDLE = (
    GuestTask(0, 0, 0, "swapper/0", kernel_thread=True),
    GuestTask(0, 0, 0, "swapper/1", kernel_thread=True),
)
ELSEWHERE = GuestTask(1, 77, 77, "sh")
ALL = (SHELL, THREAD, WORKER, *IDLE, ELSEWHERE)


def table() -> TaskTable:
    tasks = TaskTable()
    assert [tasks.add(task) for task in ALL] == [1, 2, 3, 4, 5, 6]
    return tasks


def profile() -> Profile:
    """Two samples of each task in kernel mode, idle ones idle once, and two of no known task."""
    numbers = [0, *range(7), *range(1, 7), 99]
    modes = [Mode.KERNEL] * 8 + [Mode.IDLE if n in {4, 5} else Mode.USER for n in range(1, 7)]
    guests = {0: Guest(0, "web1"), 1: Guest(1, "web2")}
    samples = SampleBatch.of(
        [0xFFFF_8000_0000_1000] * len(numbers),
        task=numbers,
        mode=[*modes, Mode.KERNEL],
        guest=[int(n == 6) for n in numbers],
    )
    return Profile(samples, SourceFacts("gdbstub", ""), guests, {}, tasks=table())


def test_tasks_are_numbered_once() -> None:
    tasks = table()
    assert [tasks.add(task) for task in reversed(ALL)] == [6, 5, 4, 3, 2, 1]
    assert [tasks[n] for n in (-1, 0, 1, 6, 7)] == [None, None, SHELL, ELSEWHERE, None]
    assert list(tasks.since(5)) == [IDLE[1], ELSEWHERE]
    assert tasks.known(np.array([0, 6, 7, 2**32 - 1], np.uint32)).tolist() == [0, 6, 0, 0]


def test_kernel_threads_are_marked() -> None:
    labels = [task.label for task in ALL[:4]]
    assert labels == ["sh 77", "helper 79", "[kworker/0:1] 9", "[swapper/0]"]
    assert [task.idle for task in ALL[:4]] == [False, False, False, True]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["sh"], {1, 6}),
        (["77"], {1, 2, 6}),
        (["79"], {2}),
        (["kworker/*"], {3}),
        (["[kworker/*]"], {3}),
        (["[sh]"], set()),
        (["swapper/[1]", "9"], {3, 5}),
        (["*"], {1, 2, 3, 4, 5, 6}),
        ([], set()),
        (["77777777777777777777777", "\u0663"], set()),
    ],
)
def test_tasks_are_found_by_name_and_number(wanted: list[str], found: set[int]) -> None:
    assert set(np.flatnonzero(table().matching(wanted)).tolist()) == found


def test_rows_of_threads() -> None:
    rows = tabulate(profile(), group=Group.TASK).sorted(SortKey.TASK).rows
    assert [(row.label, row.guest, row.mode, row.self_weight) for row in rows] == [
        ("[kworker/0:1] 9", 0, Mode.UNKNOWN, 2),
        ("[swapper/0]", 0, Mode.KERNEL, 1),
        ("[swapper/0]", 0, Mode.IDLE, 1),
        ("[swapper/1]", 0, Mode.KERNEL, 1),
        ("[swapper/1]", 0, Mode.IDLE, 1),
        ("helper 79", 0, Mode.UNKNOWN, 2),
        ("sh 77", 0, Mode.UNKNOWN, 2),
        ("sh 77", 1, Mode.UNKNOWN, 2),
        (UNKNOWN_TASK, 0, Mode.KERNEL, 3),
    ]
    assert [row.task for row in rows[-2:]] == [ELSEWHERE, None]


def test_rows_of_processes() -> None:
    rows = tabulate(profile(), group=Group.PROCESS).sorted(SortKey.PROCESS).rows
    assert [(row.label, row.guest, row.mode, row.self_weight) for row in rows] == [
        (UNKNOWN_TASK, 0, Mode.KERNEL, 3),
        ("[swapper]", 0, Mode.KERNEL, 2),
        ("[swapper]", 0, Mode.IDLE, 2),
        ("[kworker/0:1] 9", 0, Mode.UNKNOWN, 2),
        ("sh 77", 0, Mode.UNKNOWN, 4),
        ("sh 77", 1, Mode.UNKNOWN, 2),
    ]


def test_a_process_is_called_as_its_first_thread_was_last() -> None:
    tasks = TaskTable()
    for task in (THREAD, SHELL, GuestTask(0, 77, 77, "dd"), GuestTask(0, 80, 77, "late")):
        tasks.add(task)
    groups, group_of = tasks.by_process()
    assert groups == [None, GuestTask(0, 77, 77, "dd")]
    assert group_of.tolist() == [0, 1, 1, 1, 1]


def test_rows_of_names() -> None:
    tasks = TaskTable()
    for pid in (5, 6, 6):
        tasks.add(GuestTask(0, pid, pid, "dd"))
    tasks.add(SHELL)
    samples = SampleBatch.of([0x1000] * 4, task=[1, 2, 2, 3], mode=Mode.USER)
    found = tabulate(replace(profile(), samples=samples, tasks=tasks), group=Group.COMM).rows
    assert [(row.label, row.self_weight) for row in found] == [("dd", 3), ("sh", 1)]
    assert [row.task for row in found] == [GuestTask(0, -1, -1, "dd"), SHELL]


def test_a_symbol_tells_its_task_where_it_has_one() -> None:
    for stacks in (False, True):
        made = synthetic(400, stacks=stacks)
        tasks = table()
        alone = replace(made, samples=replace(made.samples, task=made.samples.task + 1))
        for row in tabulate(replace(alone, tasks=tasks)).rows:
            assert row.task == SHELL
        # One a vcpu: a row of one vcpu has one task, and no other.
        each = replace(made, samples=replace(made.samples, task=made.samples.vcpu + np.uint32(1)))
        rows = tabulate(replace(each, tasks=tasks)).rows
        told = {0: SHELL, 1: THREAD, -1: None}
        assert {row.vcpu for row in rows} >= {0, -1}
        assert all(row.task == told[row.vcpu] for row in rows)


def test_samples_are_filtered_by_task() -> None:
    found = tabulate(profile(), Filter(tasks=("sh", "9")), Group.TASK)
    assert {(row.task, row.self_weight) for row in found.rows} == {
        (SHELL, 2),
        (WORKER, 2),
        (ELSEWHERE, 2),
    }
    assert found.samples == 6
    both = Filter(tasks=("swapper/*",), modes=frozenset({Mode.IDLE}))
    assert tabulate(profile(), both).samples == 2
    assert tabulate(profile(), Filter(tasks=())).samples == 0


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Mode), st.integers(0, 2)), max_size=30),
    st.sampled_from(sorted(TASK_GROUPS)),
)
def test_groups_of_tasks_partition_the_samples(
    drawn: list[tuple[int, Mode, int]], group: Group
) -> None:
    task, mode, guest = zip(*drawn, strict=True) if drawn else ((), (), ())
    samples = SampleBatch.of([0x1000] * len(drawn), task=task, mode=mode, guest=guest)
    whole = replace(profile(), samples=samples)
    rows = tabulate(whole, group=group).rows
    assert sum(row.self_weight for row in rows) == len(drawn)
    idle = sum(row.self_weight for row in rows if row.mode is Mode.IDLE)
    assert idle == mode.count(Mode.IDLE)
    by_name = [tabulate(whole, Filter(tasks=(name,))) for name in ("sh", "helper", "*r*/*")]
    known = sum(0 < number < 7 for number in task)
    assert sum(found.samples for found in by_name) == known
