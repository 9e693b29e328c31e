"""The tasks that samples name, beside what the guest prints of itself."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from gprof.attach import Sources, attach, source_of
from gprof.guest.address import Address
from gprof.guest.monitored import MonitoredMachine
from gprof.live import Live
from gprof.profile.filter import Filter
from gprof.profile.profile import Profile
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.view import Group, tabulate
from gprof.sampling.source import Mode
from gprof.task_following import follow_tasks
from tests.guests.linux import LinuxGuest

SAMPLES = 600
PATIENCE_S = 300
_KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD
#: What is known of a thread: `pid (comm) state ppid pgrp session tty tpgid flags`.
_STAT = re.compile(r"^(\d+) \((.*)\) \S(?: -?\d+){5} (\d+)", re.MULTILINE)
#: The kernel shows the work that a worker does after its name.
_WORK = re.compile(r"^(kworker/[^-+]*)[-+].*$")


@dataclass(frozen=True, slots=True)
class Listed:
    """A thread as the guest's /proc has it."""

    comm: str
    kernel_thread: bool


def listed(guest: LinuxGuest) -> dict[int, Listed]:
    said = guest.run("cat /proc/[0-9]*/task/[0-9]*/stat 2>/dev/null").decode()
    return {
        int(pid): Listed(_WORK.sub(r"\1", comm), bool(int(flags) & _KERNEL_THREAD))
        for pid, comm, flags in _STAT.findall(said)
    }


@contextmanager
def spinning(guest: LinuxGuest, name: str) -> Iterator[int]:
    """A shell that does nothing but count, under a name of its own; its pid."""
    loop = f"echo -n {name} >/proc/self/comm; i=0; while :; do i=$((i+1)); done"
    pid = int(guest.run(f"sh -c '{loop}' >/dev/null 2>&1 & echo $!"))
    try:
        yield pid
    finally:
        guest.run(f"kill -9 {pid}")


def sampled(guest: LinuxGuest, way: str) -> Profile:
    stub = Address.parse(guest.gdb_address) if way != "qmp" else None
    monitor = Address.parse(guest.qmp_address) if way != "gdb" else None
    found = attach(stub, Sources.open(guest.vmlinux, None, None), monitor=monitor)
    tasks = TaskTable()
    following, why = follow_tasks(found, tasks)
    if following is None and isinstance(found.machine, MonitoredMachine):
        found.close()
        pytest.skip(why)
    assert following is not None, why
    source = source_of(found, hz=199, max_halted=1.0, following=following)
    live = Live(source, lambda: ({0: found.guest}, {0: found.space}), tasks=tasks)
    live.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(live.snapshot().samples) < SAMPLES:
            assert not live.wait(0.25), live.failure
            assert time.monotonic() < deadline
    finally:
        live.stop()
        live.wait()
    return live.snapshot()


@pytest.mark.parametrize("way", ["gdb", "qmp", "both"])
def test_tasks_are_those_that_the_guest_lists(linux_guest: LinuxGuest, way: str) -> None:
    with spinning(linux_guest, "spinner") as pid:
        before = listed(linux_guest)
        profile = sampled(linux_guest, way)
        after = listed(linux_guest)
    assert before[pid] == after[pid] == Listed("spinner", kernel_thread=False)
    weights: Counter[GuestTask | None] = Counter()
    for row in tabulate(profile, group=Group.TASK).rows:
        weights[row.task] += row.self_weight
    unknown = weights.pop(None, 0)
    lines = [f"{n:5} {task.label}" for task, n in weights.most_common(12) if task is not None]
    lines.append(f"{unknown:5} unknown, of {len(profile.samples)}")
    print("\n".join(lines))  # noqa: T201 - evidence
    # Those that lived all the time are what the guest says they are.
    stayed = 0
    for task, weight in weights.items():
        assert task is not None
        if task.idle:
            assert task.comm.startswith("swapper/")
            continue
        there = before.get(task.pid)
        if there is not None and there == after.get(task.pid):
            assert (task.comm, task.kernel_thread) == (there.comm, there.kernel_thread)
            stayed += weight
    assert stayed >= weights[GuestTask(0, pid, pid, "spinner")] > SAMPLES / 20
    # It counts in user space, and whatever of user space was seen belongs to a process.
    user = tabulate(profile, Filter(modes=frozenset({Mode.USER})), Group.TASK)
    ours = sum(row.self_weight for row in user.rows if row.task and row.task.pid == pid)
    assert ours > user.weight / 5
    assert not any(row.task.kernel_thread for row in user.rows if row.task)
    by_name = tabulate(profile, Filter(tasks=("spinner",)))
    assert by_name.weight == weights[GuestTask(0, pid, pid, "spinner")]
    # The first of each vcpu. Through the monitor those too that change while it is asked, which
    # may be many where it answers late.
    assert unknown <= 2 or way == "qmp"
