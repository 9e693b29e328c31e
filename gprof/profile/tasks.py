"""Tasks of guests, each distinct one once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

#: What is shown of samples whose task is not known.
UNKNOWN_TASK = "[unknown task]"
#: Number of a task that stands for several.
SEVERAL_TASKS = -1


def shown_name(comm: str, *, kernel_thread: bool) -> str:
    """The name of a task; that of a kernel thread in brackets, as `ps` shows it."""
    return f"[{comm}]" if kernel_thread else comm


@dataclass(frozen=True, slots=True)
class GuestTask:
    """A thread of a guest under one name; after an `exec` it is another one here.

    Attributes:
        guest: id of its guest.
        pid: its own number; 0 for what a vcpu runs that has nothing to do, SEVERAL_TASKS for a
            group of tasks.
        tgid: number of its process; SEVERAL_TASKS for tasks of one name.
        comm: its name, safe to show.
        kernel_thread: it has no user space.
        space: id of its user space in `UserSpaces`; 0 where unknown.
    """

    guest: int
    pid: int
    tgid: int
    comm: str
    kernel_thread: bool = False
    space: int = 0

    @property
    def idle(self) -> bool:
        """What a vcpu runs that has nothing to do; interrupts are at work in it too."""
        return self.pid == 0

    @property
    def name(self) -> str:
        """Its name as it is shown."""
        return shown_name(self.comm, kernel_thread=self.kernel_thread)

    @property
    def label(self) -> str:
        """Name and number; tasks of vcpus that have nothing to do share their number."""
        return self.name if self.pid <= 0 else f"{self.name} {self.pid}"


class TaskTable:
    """Distinct tasks by id; id 0 is an unknown task.

    One thread adds to it; any may read it meanwhile.
    """

    def __init__(self) -> None:
        self._tasks: list[GuestTask | None] = [None]
        self._ids: dict[GuestTask, int] = {}

    def __len__(self) -> int:
        """One more than the tasks that are known."""
        return len(self._tasks)

    def __getitem__(self, task: int) -> GuestTask | None:
        """The task of an id; None where it is unknown, or never was numbered."""
        return self._tasks[task] if 0 <= task < len(self._tasks) else None

    def add(self, task: GuestTask) -> int:
        """The id of a task, new or known."""
        found = self._ids.get(task)
        if found is None:
            found = len(self._tasks)
            self._tasks.append(task)
            self._ids[task] = found
        return found

    def since(self, first: int) -> Iterator[GuestTask]:
        """The tasks whose ids are `first` and greater, in their order."""
        for task in self._tasks[max(first, 1) :]:
            assert task is not None
            yield task

    def known(self, column: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """A column of ids, in which one that was never numbered is 0."""
        return np.where(column < len(self._tasks), column, np.uint32(0))

    def alone(self) -> tuple[list[GuestTask | None], NDArray[np.int64]]:
        """Groups of what is one thread under one name; see `by_process`."""
        return self._grouped(lambda task: (replace(task, space=0), replace(task, space=0)))

    def by_process(self) -> tuple[list[GuestTask | None], NDArray[np.int64]]:
        """Groups of the tasks of one process: what stands for each, and for each id its group.

        The last name of its first thread stands for it, where that was seen; tasks of vcpus that
        have nothing to do are one process. Group 0 holds what is unknown.
        """
        groups: dict[tuple[int, int], GuestTask] = {}

        def process(task: GuestTask) -> tuple[tuple[int, int], GuestTask]:
            key = (task.guest, task.tgid)
            comm = "swapper" if task.idle else task.comm
            if key not in groups or task.pid == task.tgid:
                groups[key] = replace(task, pid=task.tgid, comm=comm, space=0)
            return key, groups[key]

        return self._grouped(process)

    def by_name(self) -> tuple[list[GuestTask | None], NDArray[np.int64]]:
        """Groups of the tasks of one name; see `by_process`."""

        def name(task: GuestTask) -> tuple[tuple[int, str], GuestTask]:
            several = replace(task, pid=SEVERAL_TASKS, tgid=SEVERAL_TASKS, space=0)
            return (task.guest, task.name), several

        return self._grouped(name)

    def _grouped(
        self, of: Callable[[GuestTask], tuple[Hashable, GuestTask]]
    ) -> tuple[list[GuestTask | None], NDArray[np.int64]]:
        """Groups of tasks that have one key, each with what was last said to stand for it."""
        groups: list[GuestTask | None] = [None]
        numbers: dict[Hashable, int] = {}
        group_of = np.zeros(len(self._tasks), np.int64)
        for i, task in enumerate(self._tasks[1 : len(group_of)], 1):
            assert task is not None
            key, stands_for_it = of(task)
            number = numbers.setdefault(key, len(groups))
            if number == len(groups):
                groups.append(stands_for_it)
            groups[number] = stands_for_it
            group_of[i] = number
        return groups, group_of

    def spaces(self) -> NDArray[np.int64]:
        """For each id the id of its task's user space."""
        return np.array([task.space if task else 0 for task in list(self._tasks)], np.int64)

    def matching(self, wanted: Sequence[str]) -> NDArray[np.bool_]:
        """For each id whether its task is among those wanted.

        Args:
            wanted: numbers of processes or threads, and patterns of names (`*`, `?`, `[ab]`);
                one in brackets, `[kworker/*]`, names kernel threads alone.
        """
        matches = np.zeros(len(self._tasks), bool)
        for i, task in enumerate(self._tasks[: len(matches)]):
            matches[i] = task is not None and any(_matches(task, one) for one in wanted)
        return matches


def _matches(task: GuestTask, wanted: str) -> bool:
    if wanted.isdecimal() and int(wanted) in {task.pid, task.tgid}:
        return True
    if task.kernel_thread and wanted[:1] == "[" and wanted[-1:] == "]":
        wanted = wanted[1:-1]
    return fnmatchcase(task.comm, wanted)
