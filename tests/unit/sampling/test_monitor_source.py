"""The source that asks the monitor, on a model of one: what it takes, counts, and waits for."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.errors import TargetError, TargetGone, UsageError
from gprof.guest import run_state
from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.qmp import Qmp
from gprof.guest.run_state import RAN_ON, RESET
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.monitor import MonitorOptions, MonitorSource
from gprof.sampling.source import SampleBatch
from gprof.sampling.task_numbers import Following
from symbols.btf import Btf
from symbols.memory import BytesMemory
from symbols.structures import Structures
from symbols.tasks import CurrentPlaces, Task, Tasks
from tests.qmp_model import QmpModel
from tests.stub_model import StubModel
from tests.unit.sampling.taking import advance, rest, taken_until, until
from tests.unit.symbols.btf_blob import ARRAY, INT, Blob


@pytest.fixture
def model(tmp_path: Path) -> Iterator[QmpModel]:
    model = QmpModel(tmp_path / "qmp")
    yield model
    model.close()


def machine(model: QmpModel) -> MonitoredMachine:
    return MonitoredMachine(Qmp(Address.parse(str(model.path))))


def source(model: QmpModel, options: MonitorOptions) -> MonitorSource:
    return MonitorSource(machine(model), options, random.Random(1))


def test_samples_name_vcpu_mode_and_pc(model: QmpModel) -> None:
    model.halted = {1}
    sampler = source(model, MonitorOptions(hz=500, guest=3))
    batch = taken_until(sampler, 60)
    facts = sampler.facts()
    assert len(batch) == 2 * facts.taken >= 60
    assert set(batch.guest.tolist()) == {3}
    for vcpu, mode in ((0, Mode.KERNEL), (1, Mode.IDLE)):
        ours = batch.vcpu == vcpu
        assert ours.sum() == facts.taken
        assert set(batch.pc[ours].tolist()) == {model.pcs[vcpu]}
        assert set(batch.mode[ours].tolist()) == {mode}
    assert (batch.time[1:] >= batch.time[:-1]).all()
    assert facts.way == "qmp"
    assert facts.halted_ns == 0
    assert facts.block_starts  # the model says that it has no KVM


class Moving:
    """Tasks of which that of vcpu 1 is another one after each look."""

    def __init__(self) -> None:
        self.looks = 0

    def must_learn(self) -> bool:
        return False

    def read(self) -> dict[int, int]:
        self.looks += 1
        return {0: 1 << 63, 1: (1 << 63) + 4096 * self.looks}

    def forget(self) -> None:
        """Nothing is kept."""


def test_a_task_counts_where_it_was_there_before_and_after(
    model: QmpModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = TaskTable()

    def number(task: Task) -> int:
        return table.add(GuestTask(0, task.pid, task.tgid, task.comm, task.kernel_thread))

    blob = Blob()
    u32 = blob.add(INT, "int", 4, 32)
    comm = blob.add(ARRAY, "", 0, blob.add(INT, "char", 1, 8), u32, 16)
    places = {"flags": u32, "pid": u32, "tgid": u32, "mm": u32, "comm": comm}
    members = ((name, of, 32 * i) for i, (name, of) in enumerate(places.items()))
    blob.struct("task_struct", 32, *members)
    memory = BytesMemory([(1 << 63, struct.pack("<IIII16s", 0, 77, 77, 0, b"sh"))])
    reader = Tasks(Structures(memory, Btf.parse(blob.bytes())))
    followed = machine(model)
    monkeypatch.setattr(followed, "_tasks", Moving())
    monkeypatch.setattr(followed, "follow_tasks", lambda _: True)
    monkeypatch.setattr(followed, "_see_bases", lambda _: None)
    following = Following(CurrentPlaces(), reader, memory, number)
    options = MonitorOptions(hz=500, following=following)
    batch = taken_until(MonitorSource(followed, options, random.Random(1)), 20)
    assert set(zip(batch.vcpu.tolist(), batch.task.tolist(), strict=True)) == {(0, 1), (1, 0)}
    assert table[1] == GuestTask(0, 77, 77, "sh")


def test_only_the_vcpus_that_were_chosen_are_taken(model: QmpModel) -> None:
    assert set(taken_until(source(model, MonitorOptions(hz=500, vcpus=(1,))), 5).vcpu) == {1}
    chosen = machine(model)
    with pytest.raises(UsageError, match="no vcpu 7"):
        MonitorSource(chosen, MonitorOptions(vcpus=(7,)))
    chosen.close()


def test_an_unknown_architecture_is_refused(model: QmpModel) -> None:
    model.commands["query-target"] = {"arch": "hexagon"}
    client = Qmp(Address.parse(str(model.path)))
    with pytest.raises(TargetError, match="hexagon is not supported"):
        MonitoredMachine(client)
    client.close()


def test_text_without_registers_is_an_error_a_vcpu(model: QmpModel) -> None:
    sampler = source(model, MonitorOptions(hz=500))
    batches = sampler.batches()
    advance(sampler, batches, 1)
    model.human["info registers -a"] = "\nCPU#0\nnothing\n"
    errors = sampler.facts().errors
    until(lambda: sampler.facts().errors >= errors + 4, batches, sampler)
    sampler.close()
    rest(batches)


def test_a_guest_that_stands_is_waited_for_and_never_resumed(model: QmpModel) -> None:
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    advance(sampler, batches, 3)
    model.stop()
    until(lambda: sampler.facts().held_ns, batches, sampler)
    taken = sampler.facts().taken
    next(batches)
    assert sampler.facts().taken == taken
    assert "Somebody else has stopped the guest" in sampler.facts().notes[-1]
    model.resume()
    advance(sampler, batches, 3)
    assert sampler.facts().notes[-1] == "The guest runs again."
    sampler.close()
    rest(batches)
    assert not {"cont", "stop"} & set(model.seen)


def test_a_migration_is_waited_for(model: QmpModel) -> None:
    model.migration = "active"
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    next(batches)
    assert sampler.facts().taken == 0
    assert "is being migrated" in sampler.facts().notes[-1]
    model.migration = "completed"
    model.stop("postmigrate")
    sampler.close()
    rest(batches)
    assert sampler.facts().taken == 0


def test_a_reset_is_told(model: QmpModel) -> None:
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    advance(sampler, batches, 3)
    model.report("RESET", guest=False)
    advance(sampler, batches, 3)
    assert sampler.facts().notes[-1] == RESET
    sampler.close()
    rest(batches)


@pytest.mark.parametrize(("event", "said"), [("SHUTDOWN", "has shut down"), ("", "QEMU closed")])
def test_a_guest_that_goes_away_is_told(model: QmpModel, event: str, said: str) -> None:
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    advance(sampler, batches, 3)
    if event:
        model.report(event, guest=True)
    model.close()
    with pytest.raises(TargetGone, match=said):
        rest(batches)


def test_a_guest_that_shuts_down_and_runs_on_is_told_and_its_end_is_another_matter(
    model: QmpModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_state, "_SHUT_DOWN_FOR_S", 0.0)
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    model.report("SHUTDOWN", guest=True)
    advance(sampler, batches, 3)
    until(lambda: RAN_ON in sampler.facts().notes, batches, sampler)
    advance(sampler, batches, 3)
    model.close()
    with pytest.raises(TargetGone, match="QEMU closed"):
        rest(batches)
    assert sampler.facts().notes.count(RAN_ON) == 1


def test_of_a_qemu_that_is_ending_nothing_else_is_said(
    model: QmpModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_state, "_SHUT_DOWN_FOR_S", 0.0)
    sampler = source(model, MonitorOptions(hz=300))
    batches = sampler.batches()
    advance(sampler, batches, 3)
    # From its shutdown on it answers nothing; it may take its time to flush what it holds.
    model.shut_down()
    with pytest.raises(TargetGone, match="has shut down"):
        rest(batches)
    assert RAN_ON not in sampler.facts().notes


def test_close_ends_a_long_wait_at_once(model: QmpModel) -> None:
    sampler = source(model, MonitorOptions(hz=0.0001))
    threading.Timer(0.1, sampler.close).start()
    assert len(SampleBatch.concatenate(rest(sampler.batches()))) == 0


def test_a_source_that_never_began_lets_go_too(model: QmpModel) -> None:
    source(model, MonitorOptions()).close()
    again = machine(model)  # the model serves one client at a time
    again.close()


class Pair:
    """A stub and a monitor of one guest: stops of the one are events of the other."""

    def __init__(self, directory: Path, version: str) -> None:
        self.stub = StubModel(directory / "gdb", version=version)
        self.qmp = QmpModel(directory / "qmp")

    def source(self) -> HaltingSource:
        monitored = machine(self.qmp)
        state = monitored.run_state
        stub = Stub(Address.parse(str(self.stub.path)), running=state.running)
        halting = Machine(stub)
        monitored.lend(halting)
        return HaltingSource(
            halting, HaltingOptions(hz=300, max_halted=1), random.Random(1), monitored
        )

    def close(self) -> None:
        self.stub.close()
        self.qmp.close()


@pytest.fixture(params=["7.2.22", "10.1.0"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(tmp_path, request.param)
    yield pair
    pair.close()


def test_with_both_the_halted_time_is_the_monitors(pair: Pair) -> None:
    sampler = pair.source()
    batches = sampler.batches()
    advance(sampler, batches, 3)
    assert sampler.facts().halted_ns == 0  # the model of the monitor has reported none
    for n in range(30):
        pair.qmp.stop(time_us=n * 1000)
        pair.qmp.resume(time_us=n * 1000 + 100)
    until(lambda: sampler.facts().halted_ns >= 3_000_000, batches, sampler)
    assert sampler.facts().halted_ns == 3_000_000
    sampler.close()
    rest(batches)
    assert pair.stub.soon_runs()


def test_with_both_a_paused_guest_is_recognised_before_connecting(pair: Pair) -> None:
    pair.stub.running = False
    pair.qmp.status = "paused"
    sampler = pair.source()
    batches = sampler.batches()
    until(lambda: sampler.facts().held_ns, batches, sampler)
    assert "Somebody else" in sampler.facts().notes[-1]
    assert sampler.facts().taken == 0
    sampler.close()
    rest(batches)
    assert not pair.stub.running


def test_with_both_a_stop_by_the_monitor_is_held_and_goes_on(pair: Pair) -> None:
    sampler = pair.source()
    batches = sampler.batches()
    advance(sampler, batches, 3)
    pair.stub.stop_by_other()
    pair.qmp.stop(time_us=1)
    until(lambda: sampler.facts().held_ns, batches, sampler)
    next(batches)
    assert not pair.stub.running
    pair.stub.resume_by_other()
    pair.qmp.resume(time_us=900_000_001)
    advance(sampler, batches, 3)
    assert sampler.facts().halted_ns == 0
    sampler.close()
    rest(batches)
    assert pair.stub.soon_runs()


def test_with_both_a_reset_is_told(pair: Pair) -> None:
    sampler = pair.source()
    batches = sampler.batches()
    advance(sampler, batches, 3)
    pair.qmp.report("RESET", guest=True)
    until(lambda: RESET in sampler.facts().notes, batches, sampler)
    sampler.close()
    rest(batches)


def test_with_both_nothing_is_written_to_a_guest_on_its_way(pair: Pair) -> None:
    pair.qmp.migration = "active"
    sampler = pair.source()
    batches = sampler.batches()
    stops = pair.stub.stops
    for _ in range(3):
        next(batches)
    assert pair.stub.stops == stops
    assert "is being migrated" in sampler.facts().notes[-1]
    sampler.close()
    rest(batches)
