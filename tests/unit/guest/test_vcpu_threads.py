"""How long the host let vcpus run, from files like those of /proc."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.address import Address
from gprof.guest.vcpu_threads import VcpuThreads, VcpuTime
from tests.waiting import wait_until

HERE = Address.parse("/run/gdb")
CPUS = "* CPU #0: thread_id=101\r\n  CPU #1: (halted) thread_id=102\r\n"


def process(root: Path, pid: int, threads: dict[int, str], program: str = "kvm") -> None:
    for thread, counters in threads.items():
        for folder in (root / str(pid) / "task" / str(thread), root / str(thread)):
            folder.mkdir(parents=True, exist_ok=True)
        (root / str(pid) / "task" / str(thread) / "schedstat").write_text(counters)
        (root / str(thread) / "status").write_text(f"Name:\tCPU\nTgid:\t{pid}\nPid:\t{thread}\n")
    (root / str(pid) / "cmdline").write_text(f"/usr/bin/{program}\0-s\0")


def test_the_counters_of_each_vcpu_are_read_anew(tmp_path: Path) -> None:
    process(tmp_path, 100, {101: "5000 300 7\n", 102: "40 2 1\n"})
    threads = VcpuThreads.of_process(100, {0: 101, 1: 102, 2: 103}, tmp_path)
    assert threads.vcpus == {0, 1}
    before = threads.read()
    assert before == {0: VcpuTime(5000, 300), 1: VcpuTime(40, 2)}
    (tmp_path / "100/task/101/schedstat").write_text("8000 1300 9\n")
    (tmp_path / "100/task/102/schedstat").write_text("nonsense")
    after = threads.read()
    assert after.keys() == {0}
    assert after[0].since(before[0]) == VcpuTime(3000, 1000)
    assert after[0].since(before[0]).share == 0.75
    threads.close()
    assert threads.read() == {}
    threads.close()


def test_a_vcpu_that_slept_could_not_have_run() -> None:
    assert VcpuTime(0, 0).share == 1.0


def test_by_the_stub_the_process_is_the_one_that_has_the_threads(tmp_path: Path) -> None:
    process(tmp_path, 100, {101: "1 2 3", 102: "4 5 6"})
    assert VcpuThreads.of_stub(CPUS, HERE, tmp_path).read()[1] == VcpuTime(4, 5)
    assert VcpuThreads.of_stub(CPUS, Address.parse("localhost:1"), tmp_path).vcpus == {0, 1}
    assert VcpuThreads.of_stub(CPUS, HERE, tmp_path).only([1]).vcpus == {1}


@pytest.mark.parametrize("said", ["", "unknown command", "* CPU #0: thread_id=9"])
def test_by_the_stub_nothing_is_made_up(tmp_path: Path, said: str) -> None:
    process(tmp_path, 100, {101: "1 2 3", 102: "4 5 6"})
    assert not VcpuThreads.of_stub(said, HERE, tmp_path).vcpus


def test_threads_of_another_host_or_of_no_qemu_are_not_taken(tmp_path: Path) -> None:
    process(tmp_path, 100, {101: "1 2 3", 102: "4 5 6"})
    assert not VcpuThreads.of_stub(CPUS, Address.parse("far:1234"), tmp_path).vcpus
    process(tmp_path, 100, {101: "1 2 3"}, program="bash")
    assert not VcpuThreads.of_stub(CPUS, HERE, tmp_path).vcpus
    process(tmp_path, 200, {102: "4 5 6"})
    assert not VcpuThreads.of_stub(CPUS, HERE, tmp_path).vcpus


def test_this_kernel_counts() -> None:
    import os

    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this kernel does not count (CONFIG_SCHED_INFO)")
    threads = VcpuThreads.of_process(os.getpid(), {0: threading.get_native_id()})
    before = threads.read()[0]
    wait_until(
        lambda: sum(range(10000)) and threads.read()[0].ran_ns > before.ran_ns,
        "time on a processor",
    )
    threads.close()


@given(st.text())
def test_any_answer_is_threads_or_none(said: str) -> None:
    assert not VcpuThreads.of_stub(said + CPUS, Address.parse("far:1")).vcpus
    VcpuThreads.of_stub(said, HERE, Path("/nonexistent")).close()
