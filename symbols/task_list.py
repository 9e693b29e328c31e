"""Every task of a guest: what it is, whether it sleeps, and where its registers were put.

Processes hang in a ring from `init_task` by their member `tasks`; the threads of one in a ring
from its `signal` (include/linux/sched.h, include/linux/sched/signal.h). Meaning of the state's
bits: TASK_* of include/linux/sched.h and `task_state_array` of fs/proc/array.c, unchanged since
Linux 4.14.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import Memory, MemoryFault, gather
from symbols.structures import Record, Structures
from symbols.tasks import Task, Tasks

_WRAP = 1 << 64
_MOST_TASKS = 1 << 16

_UNINTERRUPTIBLE = 0x2
_NO_LOAD = 0x400
#: From the lowest bit on; a state of none of them is that of a task that runs or waits to.
_LETTERS = ((0x1, "S"), (0x2, "D"), (0x4, "T"), (0x8, "t"), (0x10, "X"), (0x20, "Z"), (0x40, "P"))
_MEANINGS = {
    "R": "running, or waiting for a cpu",
    "S": "sleeping",
    "D": "sleeping, not to be woken by signals",
    "I": "idle",
    "T": "stopped",
    "t": "stopped by a tracer",
    "X": "dead",
    "Z": "dead, not yet waited for",
    "P": "parked",
}


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task as the kernel's list has it.

    Attributes:
        task: who it is.
        state: the letter that `ps` shows.
        cpu: where it runs or last ran; None where the kernel's types do not tell.
        on_cpu: it runs now, so its registers are those of a vcpu.
        record: its structure as it was read.
        moves: what changes whenever the task has run: its count of switches, and its state.
    """

    task: Task
    state: str
    cpu: int | None
    on_cpu: bool
    record: Record
    moves: tuple[bytes, ...]

    @property
    def meaning(self) -> str:
        """The state in words."""
        return _MEANINGS[self.state]


@dataclass(frozen=True, slots=True)
class TaskList:
    """What one walk found.

    Attributes:
        tasks: processes in the kernel's order, each followed by its other threads.
        complete: the walk came back to where it began. Where tasks come and go meanwhile it may
            lead elsewhere: then these are those up to there.
    """

    tasks: tuple[ListedTask, ...]
    complete: bool


def list_tasks(structures: Structures, first: int) -> TaskList:
    """Walk the kernel's list of tasks; the idle tasks are not in it.

    Args:
        structures: the guest's memory and types.
        first: runtime address of the symbol `init_task`.

    Raises:
        IntrospectionError: there is no list at `first`, or the kernel's types know no tasks.
    """
    walk = _Walk(structures)
    found: list[ListedTask] = []
    seen = {first}
    try:
        at = walk.following(first, "tasks")
        while at != first:
            if at in seen or len(found) >= _MOST_TASKS:
                return TaskList(tuple(found), complete=False)
            seen.add(at)
            leader, record = walk.read(at)
            found.append(leader)
            found += [one for one in walk.threads(record) if one.task.address != at]
            at = walk.address_in(record, "tasks", "tasks")
    except _LeftTheListError:
        if not found:
            raise IntrospectionError(
                "the guest's list of tasks cannot be read",
                "Try again once it has booted, and check that the symbols are of its kernel.",
            ) from None
        return TaskList(tuple(found), complete=False)
    return TaskList(tuple(found), complete=walk.complete)


def moved(memory: Memory, structures: Structures, tasks: TaskList) -> set[int]:
    """Addresses of the tasks that have run since they were listed: their stacks may be torn.

    Args:
        memory: the guest's, read anew.
        structures: what they were listed by.
        tasks: of `list_tasks`.
    """
    members = [structures.member("task_struct", name) for name in _moving(structures)]
    spans = [
        ((one.task.address + member.offset) % _WRAP, size)
        for one in tasks.tasks
        for member, size in members
    ]
    read = gather(memory, spans)
    count = len(members)
    return {
        one.task.address
        for i, one in enumerate(tasks.tasks)
        if tuple(read[i * count : (i + 1) * count]) != one.moves
    }


class _LeftTheListError(Exception):
    """What was read is no task, or not to be read."""


class _Walk:
    """Reads tasks, and where each list goes on.

    Raises:
        IntrospectionError: the kernel's types do not describe its tasks.
    """

    def __init__(self, structures: Structures) -> None:
        self._structures = structures
        self.complete = True
        try:
            self._tasks = Tasks(structures)
            self._state = "__state" if structures.has("task_struct", "__state") else "state"
            for name in (self._state, "tasks", "thread_node", "signal", "on_cpu"):
                structures.member("task_struct", name)
            structures.member("signal_struct", "thread_head")
            self._moving = _moving(structures)
        except BtfError as missing:
            raise IntrospectionError(
                f"where tasks are cannot be told: {missing.problem}", missing.remedy
            ) from None
        # `cpu` is in the architecture's part of the task since Linux 5.16.
        places = ("thread_info.cpu", "cpu")
        self._cpu = next((path for path in places if structures.has("task_struct", path)), None)

    def read(self, address: int) -> tuple[ListedTask, Record]:
        try:
            record = self._structures.at(address, "task_struct")
            task = self._tasks.in_record(record)
            if task is None:
                raise _LeftTheListError
            listed = ListedTask(
                task,
                _letter(record.number(self._state), record.number("exit_state")),
                record.number(self._cpu) if self._cpu is not None else None,
                bool(record.number("on_cpu")),
                record,
                tuple(record.bytes(name) for name in self._moving),
            )
        except (MemoryFault, BtfError, IntrospectionError):
            raise _LeftTheListError from None
        return listed, record

    def threads(self, leader: Record) -> Iterator[ListedTask]:
        """The threads of a process, the leader among them, as far as they can be read."""
        signal = leader.number("signal")
        head, _ = self._structures.member("signal_struct", "thread_head")
        ring = (signal + head.offset) % _WRAP
        seen = {ring}
        try:
            at = self._pointer(ring)
            while at not in seen and len(seen) < _MOST_TASKS:
                seen.add(at)
                member, _ = self._structures.member("task_struct", "thread_node")
                thread, record = self.read((at - member.offset) % _WRAP)
                yield thread
                at = record.number("thread_node")
            self.complete &= at == ring
        except _LeftTheListError:
            self.complete = False

    def following(self, address: int, path: str) -> int:
        """The structure after one in a ring of `list_head`s."""
        member, _ = self._structures.member("task_struct", path)
        return (self._pointer(address + member.offset) - member.offset) % _WRAP

    def address_in(self, record: Record, path: str, member_path: str) -> int:
        member, _ = self._structures.member("task_struct", member_path)
        return (record.number(path) - member.offset) % _WRAP

    def _pointer(self, address: int) -> int:
        try:
            return self._structures.pointer(address)
        except MemoryFault:
            raise _LeftTheListError from None


def _moving(structures: Structures) -> tuple[str, ...]:
    state = "__state" if structures.has("task_struct", "__state") else "state"
    return state, "on_cpu", "nvcsw", "nivcsw"


def _letter(state: int, exit_state: int) -> str:
    """The letter of a state; `__task_state_index` of include/linux/sched.h."""
    if state & (_UNINTERRUPTIBLE | _NO_LOAD) == _UNINTERRUPTIBLE | _NO_LOAD:
        return "I"
    both = state | exit_state
    return next((letter for bit, letter in _LETTERS if both & bit), "R")
