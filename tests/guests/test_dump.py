"""What a hung guest waits for, told from outside: held to what the guest says of itself."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from symbols.elf import Image
from symbols.kallsyms import Kallsyms
from tests.command_line import gprof
from tests.guests.linux import LinuxGuest
from tests.monitor import Monitor
from tests.waiting import Deadline

#: A task in an endless wait that no signal ends: it writes to a file system that is frozen.
#: Another one that waits for somebody to write into a pipe.
HANG = """
mkfifo /tmp/pipe; (cat /tmp/pipe >/dev/null 2>&1 &)
disk=/dev/zram$(cat /sys/class/zram-control/hot_add); echo $disk >/tmp/disk
echo 16M >/sys/block/${disk#/dev/}/disksize
mke2fs -b 4096 $disk >/dev/null; mkdir -p /tmp/frozen; mount -t ext4 $disk /tmp/frozen
fsfreeze --freeze /tmp/frozen
(sh -c 'echo text >/tmp/frozen/file' >/dev/null 2>&1 &)
while ! grep -l percpu_rwsem_wait /proc/[0-9]*/wchan; do sleep 1; done
while ! grep -l wait_for_partner /proc/[0-9]*/wchan; do sleep 1; done
"""
RELEASE = """
fsfreeze --unfreeze /tmp/frozen; echo >/tmp/pipe
while ! umount /tmp/frozen; do sleep 1; done
rm -r /tmp/frozen /tmp/pipe
disk=$(cat /tmp/disk); echo ${disk#/dev/zram} >/sys/class/zram-control/hot_remove
"""
#: pid, how often it was switched to and from, state, what it waits in, name.
WHO_WAITS = (
    "for p in /proc/[0-9]*; do "
    "echo ${p#/proc/} $(awk '/ctxt/ { n += $2 } END { print n }' $p/status) "
    "$(sed 's/.*) //;s/ .*//' $p/stat) $(cat $p/wchan) $(cat $p/comm); "
    "done 2>/dev/null"
)


def dump(guest: LinuxGuest, *options: str) -> dict[str, Any]:
    at = ("--qmp", guest.qmp_address, "--guestvmlinux", str(guest.vmlinux))
    found: dict[str, Any] = json.loads(gprof("dump", *at, *options, "--json").stdout)
    return found


def waiting(guest: LinuxGuest) -> dict[int, tuple[str, str, str, str]]:
    """By pid, what the guest says: switches, state, function that is waited in, name."""
    rows = [line.split(maxsplit=4) for line in guest.run(WHO_WAITS).decode().splitlines()]
    return {
        int(row[0]): (row[1], row[2], row[3], row[4])
        for row in rows
        if row[0].isdecimal() and len(row) == 5
    }


def script(guest: LinuxGuest, text: str) -> bytes:
    """Run several lines: the guest takes one at a time."""
    return guest.run("; ".join(text.strip().splitlines()))


@pytest.fixture
def hung_guest(linux_guest: LinuxGuest) -> Iterator[LinuxGuest]:
    assert b"wchan" in script(linux_guest, HANG)
    try:
        yield linux_guest
    finally:
        script(linux_guest, RELEASE)


def test_what_each_task_of_a_hung_guest_waits_in_is_told(hung_guest: LinuxGuest) -> None:
    before = waiting(hung_guest)
    found = dump(hung_guest, "--tasks", "--no-inline")
    after = waiting(hung_guest)
    assert found["tasks_complete"]
    told = {
        task["pid"]: (task["state"], task["waits_in"], task["comm"])
        for task in found["tasks"]
        if not task["torn"] and not task["running"]
    }
    # Those that did not move in the meantime, not even there and back again. Process 1 is the one
    # that looks for us, and the guest writes "0" for one that runs.
    still = {
        pid: said
        for pid, said in before.items()
        if pid != 1 and after.get(pid) == said and said[2] != "0" and pid in told
    }
    assert len(still) > 30
    for pid, (_, state, wait, name) in still.items():
        assert told[pid][:2] == (state, wait)
        # Of a worker the guest shows what it worked on last, of a kernel thread its full name.
        assert name.startswith(told[pid][2])

    tasks = {task["comm"]: task for task in found["tasks"]}
    stuck = next(task for task in found["tasks"] if task["state"] == "D")
    names = [frame["symbol"] for frame in stuck["frames"]]
    assert stuck["waits_in"] == "percpu_rwsem_wait"
    assert {"mnt_want_write", "path_openat", "do_syscall_64"} <= set(names)
    assert stuck["ending"] == "user"
    assert tasks["cat"]["waits_in"] == "wait_for_partner"
    assert "fifo_open" in [frame["symbol"] for frame in tasks["cat"]["frames"]]
    whole = [task["whole"] for task in found["tasks"] if task["frames"] and not task["torn"]]
    assert all(whole)
    assert tasks["kthreadd"]["kernel_thread"]
    assert not tasks["cat"]["kernel_thread"]


def test_a_person_reads_what_hangs(hung_guest: LinuxGuest) -> None:
    at = ("--qmp", hung_guest.qmp_address, "--guestvmlinux", hung_guest.vmlinux)
    shown = gprof("dump", *at, "--tasks").stdout
    _, found, rest = shown.partition("\nD  sh (pid ")
    assert found, shown
    block = rest.split("\n\n")[0]
    assert "sleeping, not to be woken by signals in percpu_rwsem_wait" in block
    assert "mnt_want_write" in block
    assert "fs/namespace.c:" in block
    assert "sb_start_write (inlined) at" in block


@contextlib.contextmanager
def taken(guest: LinuxGuest, lock: int) -> Iterator[None]:
    """Take a free spinlock of the guest from outside, and give it back at the end.

    The lowest byte of a queued spinlock says that it is taken; who waits notes that in the others
    (include/asm-generic/qspinlock_types.h).
    """
    stub = Stub(Address.parse(guest.gdb_address))
    try:
        for _ in range(100):
            with stub.stopped() as stop:
                free = stop.ask([b"m%x,4" % lock]) == [b"00000000"]
                asked = [b"M%x,1:01" % lock] if free else [b"qC"]
                said = stop.ask(asked, last=True)
            if free:
                assert said == [b"OK"]
                break
        else:
            pytest.fail("the lock is never free")
    finally:
        stub.close()
    try:
        yield
    finally:
        stub = Stub(Address.parse(guest.gdb_address))
        try:
            assert stub.exchange([b"M%x,1:00" % lock]).replies == [b"OK"]
        finally:
            stub.close()


@pytest.fixture
def _forks(linux_guest: LinuxGuest) -> Iterator[None]:
    """Each vcpu of the guest makes processes of its own all the time."""
    linux_guest.run(
        "for mask in 1 2; do taskset $mask sh -c 'while :; do sh -c :; done' >/dev/null 2>&1 & "
        "echo $!; done >/tmp/forking"
    )
    yield
    linux_guest.run("kill $(cat /tmp/forking); rm /tmp/forking")


@pytest.mark.usefixtures("_forks")
def test_two_vcpus_that_wait_for_each_others_locks_are_diagnosed(linux_guest: LinuxGuest) -> None:
    link, running = Image.open(linux_guest.vmlinux), Kallsyms.open(linux_guest.kallsyms)
    lock, first, now = (
        link.address_of("pidmap_lock"), link.address_of("_text"), running.address_of("_text")
    )  # fmt: skip
    assert lock is not None
    assert first is not None
    assert now is not None
    stacks: list[list[str]] = []
    with taken(linux_guest, lock + now - first):
        # Every birth and death of a process needs it, and who waits for it then holds others.
        deadline = Deadline("two vcpus that wait for a lock", lambda: stacks)
        while not (stacks and all("lock_slowpath" in stack[0] for stack in stacks)):
            deadline.check()
            found = dump(linux_guest, "--tasks", "--no-inline")
            stacks = [[f["symbol"] for f in vcpu["frames"]] for vcpu in found["vcpus"]]
    assert len(stacks) == 2
    assert any({"alloc_pid", "free_pid"} & set(stack) for stack in stacks)
    assert all(vcpu["whole"] for vcpu in found["vcpus"])
    on_cpu = {task["pid"]: task["comm"] for task in found["tasks"] if task["running"]}
    assert on_cpu == {vcpu["task"]["pid"]: vcpu["task"]["comm"] for vcpu in found["vcpus"]}
    # And it goes on as if nothing had been.
    assert linux_guest.run("echo well") == b"well\n"


def test_a_dump_of_memory_says_what_the_guest_itself_does(
    booted_linux_guest: LinuxGuest, tmp_path: Path
) -> None:
    guest = booted_linux_guest  # paused
    core = tmp_path / "core"
    with Monitor(guest.qmp_address) as monitor:
        monitor.execute("dump-guest-memory", paging=False, protocol=f"file:{core}")
    live = dump(guest, "--tasks", "--no-inline")
    said = gprof(
        *("dump", "--core", core, "--guestvmlinux", guest.vmlinux),
        *("--tasks", "--no-inline", "--json"),
    )
    dead = json.loads(said.stdout)
    assert dead["core"]
    assert not live["core"]
    assert live["stopped"]
    assert dead["kernel"] == live["kernel"]
    assert len(live["tasks"]) > 40
    assert dead["tasks"] == live["tasks"]
    for vcpu, other in zip(dead["vcpus"], live["vcpus"], strict=True):
        for part in ("frames", "ending", "task"):
            assert vcpu[part] == other[part]
        assert vcpu["registers"]["rsp"] == other["registers"]["rsp"]
    nothing = gprof("dump", "--core", guest.vmlinux, code=6)
    assert "no dump of a machine" in nothing.stderr
