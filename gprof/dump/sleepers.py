"""Every task of a guest with its stack, read from memory: what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gprof.attach import Attached
from gprof.dump.frames import Frame, name_frames
from symbols.errors import IntrospectionError
from symbols.lines_of_space import SpaceLines
from symbols.task_list import ListedTask, list_tasks, moved
from symbols.tasks import Task
from symbols.unwinding.sleeping import knows_sleepers, sleeping_registers
from symbols.unwinding.stack import Ending, Stack, words_of
from symbols.unwinding.unwind import Unwinding

#: Between these the kernel puts what only waits, so that `/proc/PID/wchan` can look past it
#: (include/linux/sched/debug.h, include/linux/spinlock.h).
_WAITING_CODE = (
    ("__sched_text_start", "__sched_text_end"),
    ("__lock_text_start", "__lock_text_end"),
)


@dataclass(frozen=True, slots=True)
class TaskDump:
    """One task.

    Attributes:
        task: who it is.
        state: the letter that `ps` shows.
        meaning: that in words.
        cpu: where it runs or last ran; None where unknown.
        running: it is on a vcpu now: its stack is that one's.
        waits_in: the function that went to sleep, as /proc/PID/wchan has it; empty for a task
            that does not sleep.
        frames: leaf first; none of a running one.
        ending: why there are no more; None where its stack was not unwound.
        torn: it has run while it was read: its stack may be of several moments.
    """

    task: Task
    state: str
    meaning: str
    cpu: int | None
    running: bool
    waits_in: str
    frames: tuple[Frame, ...]
    ending: Ending | None
    torn: bool

    def content(self) -> dict[str, Any]:
        """For programs."""
        return {
            "pid": self.task.pid,
            "tgid": self.task.tgid,
            "comm": self.task.comm,
            "kernel_thread": self.task.kernel_thread,
            "state": self.state,
            "cpu": self.cpu,
            "running": self.running,
            "waits_in": self.waits_in or None,
            "frames": [frame.content() for frame in self.frames],
            "ending": self.ending.name.lower() if self.ending is not None else None,
            "whole": self.ending.whole if self.ending is not None else None,
            "torn": self.torn,
        }


@dataclass(frozen=True, slots=True)
class TasksDump:
    """All tasks but the idle ones.

    Attributes:
        tasks: in the kernel's order.
        complete: the kernel's list was walked to its end.
        why_no_stacks: why their stacks were not unwound; empty where they were.
    """

    tasks: tuple[TaskDump, ...]
    complete: bool
    why_no_stacks: str


def take_tasks(
    attached: Attached, unwinding: Unwinding, lines: SpaceLines | None = None
) -> TasksDump:
    """Read every task of a guest.

    Args:
        attached: the guest.
        unwinding: how stacks are unwound; where it has no way, tasks are listed without.
        lines: where source lines come from; None to do without.

    Raises:
        IntrospectionError: its tasks cannot be found.
        TargetError: the guest went away.
    """
    known = attached.known_kernel
    first = known.address_of("init_task")
    if first is None:
        raise IntrospectionError(
            "the guest's first task (init_task) is not among its kernel's symbols",
            "Give the kernel's vmlinux with --guestvmlinux.",
        )
    structures = attached.structures(attached.reader.fresh_memory())
    listed = list_tasks(structures, first)
    architecture = attached.guest.architecture
    unwinder = unwinding.unwinder
    why = knows_sleepers(architecture, structures) if unwinder is not None else unwinding.why
    stacks: dict[int, Stack] = {}
    if unwinder is not None and not why:
        word = words_of(structures.memory, big_endian=not structures.btf.little_endian)
        for one in listed.tasks:
            registers = None
            if not one.on_cpu:
                registers = sleeping_registers(architecture, structures, one.record)
            if registers is not None:
                stacks[one.task.address] = unwinder.unwind(registers, word)
    torn = moved(attached.reader.fresh_memory(), structures, listed)
    frames = name_frames(attached.space, list(stacks.values()), lines, returning=True)
    named = dict(zip(stacks, frames, strict=True))
    waiting = [
        (start, end)
        for first, last in _WAITING_CODE
        if (start := known.address_of(first)) is not None
        and (end := known.address_of(last)) is not None
    ]
    tasks = [
        _task(
            one,
            named.get(one.task.address, ()),
            stacks.get(one.task.address),
            waiting,
            torn=one.task.address in torn,
        )
        for one in listed.tasks
    ]
    return TasksDump(tuple(tasks), listed.complete, why)


def _task(
    one: ListedTask,
    frames: tuple[Frame, ...],
    stack: Stack | None,
    waiting: list[tuple[int, int]],
    *,
    torn: bool,
) -> TaskDump:
    waits_in = ""
    if one.state != "R":
        past = (f for f in frames if not any(start <= f.address < end for start, end in waiting))
        waits_in = next((frame.name for frame in past), "")
    return TaskDump(
        one.task,
        one.state,
        one.meaning,
        one.cpu,
        one.on_cpu,
        waits_in,
        frames,
        stack.ending if stack is not None else None,
        torn=torn,
    )
