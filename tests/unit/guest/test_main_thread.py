"""What QEMU's main thread computed, from files like those of /proc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gprof.guest.main_thread import MainThread
from tests.waiting import wait_until


def test_it_is_the_thread_that_has_the_id_of_the_process(tmp_path: Path) -> None:
    for number, counters in ((100, "5000 300 7\n"), (101, "9 9 9\n")):
        folder = tmp_path / "100" / "task" / str(number)
        folder.mkdir(parents=True)
        (folder / "schedstat").write_text(counters)
    thread = MainThread.of_process(100, tmp_path)
    assert thread is not None
    assert thread.ran_ns() == 5000
    (tmp_path / "100/task/100/schedstat").write_text("6000 300 8\n")
    assert thread.ran_ns() == 6000
    thread.close()
    assert thread.ran_ns() is None
    thread.close()


@pytest.mark.parametrize("counters", ["", "nonsense 1 2"])
def test_what_is_no_counter_is_not_taken_for_one(tmp_path: Path, counters: str) -> None:
    folder = tmp_path / "100" / "task" / "100"
    folder.mkdir(parents=True)
    (folder / "schedstat").write_text(counters)
    thread = MainThread.of_process(100, tmp_path)
    assert thread is not None
    assert thread.ran_ns() is None
    thread.close()


@pytest.mark.parametrize("process", [0, 100])
def test_a_process_that_is_not_to_be_seen_has_none(tmp_path: Path, process: int) -> None:
    assert MainThread.of_process(process, tmp_path) is None


def test_this_kernel_counts() -> None:
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this kernel does not count (CONFIG_SCHED_INFO)")
    thread = MainThread.of_process(os.getpid())
    assert thread is not None
    before = thread.ran_ns()
    assert before is not None

    def more() -> bool:
        sum(range(10000))
        return (thread.ran_ns() or 0) > before

    wait_until(more, "more time of a processor")
    thread.close()
