"""What samples weigh by the time that vcpus had a processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gprof.errors import UsageError
from gprof.guest.mode import Mode
from gprof.guest.vcpu_threads import VcpuThreads, VcpuTime
from gprof.sampling.source import SampleBatch
from gprof.sampling.weighing import WHOLE, Weighing

MODES = [Mode.KERNEL, Mode.USER, Mode.IDLE, Mode.KERNEL, Mode.KERNEL]
BATCH = SampleBatch.of([1, 2, 3, 4, 5], vcpu=[0, 0, 0, 1, 2], mode=MODES)


@pytest.fixture
def files(tmp_path: Path) -> dict[int, Path]:
    found = {vcpu: tmp_path / str(vcpu) for vcpu in (0, 1)}
    for path in found.values():
        path.write_text("1000 1000 1")
    return found


def test_by_the_clock_every_sample_weighs_one(files: dict[int, Path]) -> None:
    weighing = Weighing(VcpuThreads(files))
    weighing.begin()
    files[0].write_text("1600 1400 2")
    assert weighing.weigh(BATCH).weight.tolist() == [1] * 5
    assert weighing.times == {0: VcpuTime(600, 400), 1: VcpuTime(0, 0)}


def test_by_running_time_waiting_counts_for_less_and_idling_in_full(files: dict[int, Path]) -> None:
    files[0].write_text("0 0 0")
    weighing = Weighing(VcpuThreads(files), by_running=True)
    files[0].write_text("1000 1000 1")
    weighing.begin()
    files[0].write_text("1600 1400 2")
    weighed = weighing.weigh(BATCH)
    assert weighed.weight.tolist() == [600, 600, WHOLE, WHOLE, WHOLE]
    assert np.array_equal(weighed.pc, BATCH.pc)
    # Each batch by what came since the last.
    files[0].write_text("1700 1400 3")
    assert weighing.weigh(BATCH).weight.tolist() == [WHOLE] * 5
    files[1].write_text("1000 9000 3")
    assert weighing.weigh(BATCH).weight.tolist() == [WHOLE, WHOLE, WHOLE, 0, WHOLE]
    weighing.close()
    assert weighing.times == {0: VcpuTime(700, 400), 1: VcpuTime(0, 8000)}


def test_running_time_that_nobody_knows_is_refused_and_else_done_without() -> None:
    assert Weighing.of(VcpuThreads({}), by_running=False) is None
    with pytest.raises(UsageError, match="not to be seen"):
        Weighing.of(VcpuThreads({}), by_running=True)
