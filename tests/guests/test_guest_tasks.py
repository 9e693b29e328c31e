"""The tasks that samples name, beside what the guest prints of itself."""

from __future__ import annotations

import base64
import gzip
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gprof.attach import attach
from gprof.guest.address import Address
from gprof.guest.monitored import MonitoredMachine
from gprof.live import Live
from gprof.profile.filter import Filter
from gprof.profile.profile import Profile
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import Group, tabulate
from gprof.sampling.source import Mode
from gprof.sampling_way import source_of
from gprof.sources import Sources
from gprof.task_following import follow_tasks
from tests.guests.linux import LinuxGuest
from tests.guests.recordings import await_session
from tests.waiting import PATIENCE

SAMPLES = 600
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
        guest.run(f"while ! grep -qx {name} /proc/{pid}/comm; do usleep 10000; done")
        yield pid
    finally:
        guest.run(f"kill -9 {pid}")


PROGRAM = """
static volatile unsigned long total;
__attribute__((noinline)) void count_up(void) { for (int i = 0; i < 100000; i++) total += i; }
__attribute__((noinline)) void count_down(void) { for (int i = 100000; i; i--) total -= i; }
void _start(void) { for (;;) { count_up(); count_up(); count_up(); count_down(); } }
"""


#: What Debian's compilers call the architectures of its kernels.
TRIPLETS = {
    "amd64": "x86_64-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "s390x": "s390x-linux-gnu",
}


def compiled(guest: LinuxGuest, root: Path) -> Path:
    """A program for a guest at tmp/counter below a root, with symbols and a build id."""
    triplet = TRIPLETS[guest.kernel.architecture]
    compiler = shutil.which(f"{triplet}-gcc")
    if compiler is None:
        package = f"gcc-{triplet.replace('_', '-')}"
        pytest.skip(f"no compiler for the guest is installed (apt-get install {package})")
    path = root / "tmp" / "counter"
    path.parent.mkdir(parents=True)
    options = ("-O1", "-nostdlib", "-static", "-fno-stack-protector", "-Wl,--build-id", "-xc", "-")
    subprocess.run([compiler, *options, "-o", path], input=PROGRAM.encode(), check=True)
    return path


@contextmanager
def counting(guest: LinuxGuest, program: Path, stripped: Path) -> Iterator[int]:
    """The program, stripped, at work in the guest; its pid."""
    strip = f"{TRIPLETS[guest.kernel.architecture]}-strip"
    subprocess.run([strip, "-o", stripped, program], check=True)
    # Of the applets for it, the one that every busybox has (POSIX, uudecode).
    packed = base64.encodebytes(gzip.compress(stripped.read_bytes())).decode().split()
    lines = " ".join(["'begin-base64 644 -'", *packed, "===="])
    guest.run(f"printf '%s\\n' {lines} | uudecode | gunzip >/tmp/counter; chmod +x /tmp/counter")
    pid = int(guest.run("/tmp/counter >/dev/null 2>&1 & echo $!"))
    try:
        guest.run(f"while ! grep -qx counter /proc/{pid}/comm; do usleep 10000; done")
        yield pid
    finally:
        guest.run(f"kill -9 {pid}")


def sampled(
    guest: LinuxGuest,
    way: str,
    seen: Callable[[Profile], bool] = lambda _: True,
    roots: Sequence[Path] = (),
) -> Profile:
    """Sample until there is enough, and what a test waits for was seen."""
    stub = Address.parse(guest.gdb_address) if way != "qmp" else None
    monitor = Address.parse(guest.qmp_address) if way != "gdb" else None
    sources = replace(Sources.open(guest.vmlinux, None, None), directories=tuple(roots))
    found = attach(stub, sources, monitor=monitor)
    tasks = TaskTable()
    spaces = UserSpaces()
    following, why = follow_tasks(found, tasks, spaces)
    if following is None and isinstance(found.machine, MonitoredMachine):
        found.close()
        pytest.skip(why)
    assert following is not None, why
    source = source_of(found, hz=199, max_halted=1.0, following=following)
    live = Live(
        source,
        lambda: ({0: found.guest}, {0: found.space}),
        tasks=tasks,
        user_spaces=spaces,
    )
    live.start()
    try:
        await_session(
            live,
            lambda now: len(now.samples) >= SAMPLES and seen(now),
            f"{SAMPLES} samples, and those that the test waits for",
        )
    finally:
        live.stop()
        assert live.wait(PATIENCE)
    return live.snapshot()


def modules(profile: Profile) -> Counter[str]:
    """What the spinner was seen in, of user space."""
    of_spinner = Filter(tasks=("spinner",), modes=frozenset({Mode.USER}))
    rows = tabulate(profile, of_spinner, Group.MODULE).rows
    return Counter({row.module: row.self_weight for row in rows})


@pytest.mark.parametrize("way", ["gdb", "qmp", "both"])
def test_tasks_are_those_that_the_guest_lists(linux_guest: LinuxGuest, way: str) -> None:
    with spinning(linux_guest, "spinner") as pid:
        before = listed(linux_guest)
        profile = sampled(linux_guest, way, lambda now: modules(now).get("busybox", 0) > 10)
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
    user_mode = frozenset({Mode.USER})
    user = tabulate(profile, Filter(modes=user_mode), Group.TASK)
    ours = sum(row.self_weight for row in user.rows if row.task and row.task.pid == pid)
    assert ours > user.weight / 5
    assert not any(row.task.kernel_thread for row in user.rows if row.task)
    # All of it is busybox, which is linked for one place. Some was not read before it ended.
    found = modules(profile)
    assert found.keys() <= {"busybox", "[vdso]", "[user]"}
    assert found["busybox"] > found.total() / 2
    (image,) = {
        (image.start, image.path)
        for layout in profile.user_spaces.layouts
        for image in layout.images
        if image.name == "busybox"
    }
    assert image == (0x40_0000, "/bin/busybox")
    by_name = tabulate(profile, Filter(tasks=("spinner",)))
    assert by_name.weight == weights[GuestTask(0, pid, pid, "spinner")]
    # The first of each vcpu. Through the monitor those too that change while it is asked, which
    # may be many where it answers late.
    assert unknown <= 2 or way == "qmp"


@pytest.mark.parametrize("way", ["gdb", "both"])
def test_functions_of_programs_are_named_by_files_of_their_build(
    linux_guest: LinuxGuest, tmp_path: Path, way: str
) -> None:
    root = tmp_path / "root"
    program = compiled(linux_guest, root)
    with counting(linux_guest, program, tmp_path / "stripped") as pid:
        profile = sampled(linux_guest, way, lambda now: both_seen(now, pid), [root])
    found = functions_of(profile, pid)
    print(found)  # noqa: T201 - evidence
    assert found["count_up"] > found["count_down"]
    assert found["count_up"] + found["count_down"] > found.total() * 0.9


def both_seen(profile: Profile, pid: int) -> bool:
    """Whether there are samples of both functions, more than a few."""
    return functions_of(profile, pid)["count_down"] > 10


def functions_of(profile: Profile, pid: int) -> Counter[str]:
    """The samples of the program in user space, by function."""
    ours = Filter(tasks=(str(pid),), modes=frozenset({Mode.USER}))
    return Counter({row.label: row.self_weight for row in tabulate(profile, ours).rows})
