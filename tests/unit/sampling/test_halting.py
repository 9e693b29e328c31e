"""The sampler on a model of a stub: what it takes, what it counts, when it holds."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.errors import TargetGone, UsageError
from gprof.guest.address import Address
from gprof.guest.dialogue import Exchange
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.mode import Mode
from gprof.profile.stacks import StackTable
from gprof.sampling.gathering import Unstacking
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.source import SampleBatch
from gprof.sampling.stop_cost import StopCost
from gprof.sampling.stop_work import StopWork
from symbols.unwinding.frame_pointer import FramePointerUnwinder
from symbols.unwinding.stack import Ending, Registers, Stack, Word
from tests.stub_model import StubModel
from tests.unit.sampling.taking import advance, rest, taken_until, until


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    yield model
    model.close()


def source(model: StubModel, options: HaltingOptions) -> HaltingSource:
    machine = Machine(Stub(Address.parse(str(model.path))))
    return HaltingSource(machine, options, random.Random(1))


def test_samples_name_vcpu_mode_and_pc(model: StubModel) -> None:
    model.halted = {1}
    sampler = source(model, HaltingOptions(hz=500, max_halted=1, guest=3))
    batch = taken_until(sampler, 100)
    facts = sampler.facts()
    assert len(batch) == 2 * facts.taken >= 100
    assert set(batch.guest.tolist()) == {3}
    for vcpu, mode in ((0, Mode.KERNEL), (1, Mode.IDLE)):
        ours = batch.vcpu == vcpu
        assert ours.sum() == facts.taken
        assert set(batch.pc[ours].tolist()) == {model.pcs[vcpu]}
        assert set(batch.mode[ours].tolist()) == {mode}
    assert (batch.time[1:] >= batch.time[:-1]).all()
    assert facts.halted_ns > 0
    assert facts.block_starts  # the model says that it has no KVM
    assert model.soon_runs()


def test_only_the_vcpus_that_were_chosen_are_asked(model: StubModel) -> None:
    batch = taken_until(source(model, HaltingOptions(hz=500, vcpus=(1,), max_halted=1)), 10)
    assert set(batch.vcpu.tolist()) == {1}


def test_a_vcpu_that_does_not_exist_is_refused(model: StubModel) -> None:
    machine = Machine(Stub(Address.parse(str(model.path))))
    with pytest.raises(UsageError):
        HaltingSource(machine, HaltingOptions(vcpus=(7,)))
    machine.stub.close()


def test_the_budget_lowers_the_rate_and_says_so(
    model: StubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopCost, "known", True)
    monkeypatch.setattr(StopCost, "ns", 100_000.0)
    sampler = source(model, HaltingOptions(hz=1_000, max_halted=0.01))
    taken_until(sampler, 20)
    facts = sampler.facts()
    # A stop of 100 µs in a hundredth of the time: 100 of them a second.
    said = [note for note in facts.notes if "rate" in note]
    assert len(said) == 1
    assert said[0].startswith(
        "The rate is lowered from 1000 to 100 Hz: a stop costs this guest 100 µs"
    )
    assert facts.reached_hz < 500
    assert facts.halted_ns >= 100_000 * facts.taken


def test_what_qemu_does_around_stops_counts(
    model: StubModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopCost, "known", True)
    monkeypatch.setattr(StopCost, "ns", 100_000.0)
    monkeypatch.setattr(StopWork, "known", True)
    sampler = source(model, HaltingOptions(hz=1_000, max_halted=0.1))
    sampler._work.ns = 900_000.0  # whose thread it is, nobody knows here
    taken_until(sampler, 40)
    facts = sampler.facts()
    (said,) = [note for note in facts.notes if "rate" in note]
    assert said.endswith(
        "lowered from 1000 to 100 Hz: a stop costs this guest 1000 µs, 900 of them in what QEMU "
        "does before and after it, and it may be halted for 10 % of the time (--max-halted). "
        "A monitor (--qmp) samples without stops."
    )
    assert facts.stop_work_ns == 900_000 * facts.taken
    assert facts.halted_ns >= 1_000_000 * facts.taken


@pytest.mark.parametrize("if_cheap", [True, False])
def test_stacks_that_cost_too_much_are_given_up_where_they_may_be(
    model: StubModel, monkeypatch: pytest.MonkeyPatch, if_cheap: bool
) -> None:
    monkeypatch.setattr(StopCost, "known", True)
    monkeypatch.setattr(StopCost, "ns", 100_000.0)
    table = StackTable()
    unstacking = Unstacking(FramePointerUnwinder(), "fp", table.add, 2048)
    options = HaltingOptions(
        hz=1_000, max_halted=0.01, unstacking=unstacking, stacks_if_cheap=if_cheap
    )
    sampler = source(model, options)
    taken_until(sampler, 20)
    given_up = [note for note in sampler.facts().notes if note.startswith("Call stacks are given")]
    assert len(given_up) == if_cheap
    assert model.soon_runs()


def test_vcpus_that_do_not_answer_are_errors(model: StubModel) -> None:
    sampler = source(model, HaltingOptions(hz=500, max_halted=1))
    model.refused_threads = {1}
    batch = taken_until(sampler, 20)
    assert set(batch.vcpu.tolist()) == {0}
    assert sampler.facts().errors == sampler.facts().taken


def test_a_guest_stopped_by_somebody_is_waited_for(model: StubModel) -> None:
    sampler = source(model, HaltingOptions(hz=200, max_halted=1))
    batches = sampler.batches()
    advance(sampler, batches, 1)
    model.stop_by_other()
    until(lambda: sampler.facts().held_ns, batches, sampler)
    assert not model.running
    taken = sampler.facts().taken
    next(batches)
    assert sampler.facts().taken == taken
    assert "Somebody else has stopped the guest" in sampler.facts().notes[-1]
    model.resume_by_other()
    advance(sampler, batches, 5)
    assert sampler.facts().notes[-1] == "The guest runs again."
    sampler.close()
    rest(batches)
    assert model.soon_runs()


def test_close_ends_a_long_wait_at_once(model: StubModel) -> None:
    sampler = source(model, HaltingOptions(hz=0.0001))
    threading.Timer(0.1, sampler.close).start()
    assert len(SampleBatch.concatenate(rest(sampler.batches()))) == 0


def test_a_source_that_never_began_lets_go_too(model: StubModel) -> None:
    sampler = source(model, HaltingOptions())
    sampler.close()
    assert model.soon_runs()


def test_a_guest_that_goes_away_is_told(model: StubModel) -> None:
    sampler = source(model, HaltingOptions(hz=500, max_halted=1))
    batches = sampler.batches()
    advance(sampler, batches, 1)
    model.close()
    with pytest.raises(TargetGone):
        rest(batches)


def test_stacks_are_numbered_and_their_endings_counted(model: StubModel) -> None:
    code = model.pcs[0]
    model.memory[model.sps[0] // 4096] = bytes(4096)
    user = model.pcs[1] = 0x401000
    model.code_segments[1] = 0x33

    class Twice:
        def unwind(self, registers: Registers, word: Word) -> Stack:
            assert word(registers.sp) == 0
            return Stack((registers.pc, code + 0x123, 0x7FFF_1234), Ending.USER, (2,))

    stacks = StackTable()
    unstacking = Unstacking(Twice(), "orc", stacks.add, 4096)
    sampler = source(model, HaltingOptions(hz=500, max_halted=1, unstacking=unstacking))
    batch = taken_until(sampler, 20)
    facts = sampler.facts()
    of_kernel = batch.vcpu == 0
    # User space is kept to the page.
    assert {stacks[n] for n in batch.stack[of_kernel].tolist()} == {
        (code, code + 0x123, 0x7FFF_1000)
    }
    assert set(batch.stack[~of_kernel].tolist()) == {0}
    assert set(batch.pc[~of_kernel].tolist()) == {user}
    assert facts.unwound_by == "orc"
    assert facts.endings == {"user": int(of_kernel.sum())}
    assert facts.stacks_cut_percent == 0
    assert facts.halted_ns > 0


def test_the_mean_counts_where_the_guest_waited_for_us() -> None:
    cost = StopCost()
    for answered in (300, 400, 500, 90_000, 80_000):
        assert not cost.known
        cost.add(Exchange([], 0, 100, 100 + answered, caught=False, waited=True))
    assert cost.ns == 34_240
    for _ in range(5):
        cost.add(Exchange([], 0, 100, 700, caught=False, waited=True))
    assert cost.known
