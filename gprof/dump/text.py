"""A dump as text: vcpus first, then what waits, tasks of the same stack together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gprof.dump.frames import Frame
from gprof.dump.instant import Dump
from gprof.dump.sleepers import TaskDump, TasksDump
from gprof.profile.tasks import shown_name
from symbols.names import printable
from symbols.tasks import Task

#: Registers on one line.
_IN_A_LINE = 3
#: Tasks named of those with the same stack; the others are counted.
_NAMED = 8
#: What needs a person's eye first: what cannot be woken, what wants to run, what waits; last
#: what waits for work.
_ORDER = "DRtTSPZXI"
_STATES = {
    "running": "running",
    "stopped": "stopped by somebody else, and left so",
    "core": "a dump of its memory",
}


def lines_of(dump: Dump) -> Iterator[str]:
    """For people, line by line."""
    known = ", ".join(filter(None, (dump.guest.architecture, dump.guest.kernel)))
    yield f"{printable(dump.guest.name)} ({printable(known)}): {_STATES[dump.state]}"
    how = f"stacks by {dump.unwound_by}" if dump.unwound_by else "no stacks"
    yield printable(f"{how}: {dump.why}")
    for vcpu in dump.vcpus:
        yield ""
        mode = vcpu.mode.label if vcpu.mode is not None else "unknown"
        task = f"  {name_of(vcpu.task)}" if vcpu.task is not None else ""
        yield f"vcpu {vcpu.index}  {mode}{task}"
        named = [f"{name:>6} {value:016x}" for name, value in vcpu.registers.items()]
        for at in range(0, len(named), _IN_A_LINE):
            yield "  " + "  ".join(named[at : at + _IN_A_LINE])
        yield from _stack(vcpu.frames)
        if vcpu.ending is not None:
            yield f"       {vcpu.ending.sentence}"
    if dump.problem is not None:
        yield ""
        yield f"No tasks: {dump.problem.problem}"
    if dump.tasks is not None:
        yield from _tasks(dump.tasks)


def name_of(task: Task) -> str:
    """A task as people name it."""
    name = shown_name(task.comm, kernel_thread=task.kernel_thread)
    thread = f" of {task.tgid}" if task.tgid != task.pid else ""
    return f"{name} (pid {task.pid}{thread})"


def _tasks(found: TasksDump) -> Iterator[str]:
    yield ""
    cut = "" if found.complete else "; the list changed while it was read, and others are missing"
    why = f"; without stacks: {found.why_no_stacks}" if found.why_no_stacks else ""
    yield f"{len(found.tasks)} tasks{cut}{why}"
    alike: dict[tuple[object, ...], list[TaskDump]] = {}
    for task in found.tasks:
        stack = tuple(frame.address for frame in task.frames)
        alike.setdefault((task.state, task.running, task.torn, stack), []).append(task)
    groups = sorted(alike.values(), key=lambda group: _ORDER.find(group[0].state))
    for group in groups:
        yield ""
        yield from _group(group)


def _group(group: Sequence[TaskDump]) -> Iterator[str]:
    first = group[0]
    names = ", ".join(name_of(task.task) for task in group[:_NAMED])
    more = f", and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
    waits = f" in {printable(first.waits_in)}" if first.waits_in else ""
    yield f"{first.state}  {names}{more}"
    meaning = "on a vcpu, whose stack is above" if first.running else f"{first.meaning}{waits}"
    yield f"   {meaning}"
    yield from _stack(first.frames)
    if first.torn:
        yield "       it has run while it was read: this may be of several moments"
    elif first.ending is not None and not first.ending.whole:
        yield f"       {first.ending.sentence}"


def _stack(frames: Sequence[Frame]) -> Iterator[str]:
    number = 0
    for frame in frames:
        for line in frame.lines:
            yield f"  #{number:<3} {printable(line)}"
            number += 1
