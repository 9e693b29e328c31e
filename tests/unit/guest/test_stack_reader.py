"""Stops of several questions on a model of a stub, and what is read of each stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.guest.stack_reader import StackReader
from tests.stub_model import StubModel

PAGE = 4096
TASK = 0xFFFF_C900_0000_4000  # where vcpu 0's stack ends
IRQ = 0xFFFF_C900_0000_B000  # where an interrupt's stack ends


@pytest.fixture(params=["7.2.22", "10.1.0"])
def model(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb", version=request.param)
    model.memory[(TASK - 1) // PAGE] = bytes(range(256)) * 15 + bytes(256)
    model.memory[(IRQ - 1) // PAGE] = bytes(PAGE)
    yield model
    model.close()


@pytest.fixture
def machine(model: StubModel) -> Iterator[Machine]:
    machine = Machine(Stub(Address.parse(str(model.path))))
    yield machine
    machine.stub.close()
    assert model.soon_runs()


def points(model: StubModel, top: int, to: int) -> None:
    """Write a pointer into the uppermost word of a stack."""
    page = model.memory[(top - 1) // PAGE]
    model.memory[(top - 1) // PAGE] = page[:-8] + to.to_bytes(8, "little")


def test_each_stack_is_read_from_its_pointer_to_its_end(model: StubModel, machine: Machine) -> None:
    stops = model.stops
    exchange, sampled = StackReader(machine).sample(machine.vcpus)
    assert model.soon_runs()
    assert model.stops == stops + 1
    assert exchange.waited
    first, second = sampled
    assert first.registers is not None
    assert (first.registers.pc, first.registers.sp) == (model.pcs[0], model.sps[0])
    ((start, data),) = first.memory
    assert start == model.sps[0]
    assert data == model.memory[start // PAGE][start % PAGE :]
    assert second.registers is not None  # its stack is not mapped
    assert second.memory == ()


def test_no_more_is_read_than_was_asked_for(model: StubModel, machine: Machine) -> None:
    model.sps[0] = TASK - PAGE + 4  # not aligned
    sampled = StackReader(machine, most=1024).sample(machine.vcpus)[1]
    ((start, data),) = sampled[0].memory
    assert (start, len(data)) == (TASK - PAGE, 1024)


def test_user_space_is_not_read(model: StubModel, machine: Machine) -> None:
    model.code_segments = [0x33, 0x33]
    sampled = StackReader(machine).sample(machine.vcpus)[1]
    assert all(one.registers is None and not one.memory for one in sampled)
    assert not machine.stub.exchange([b"qC"]).waited  # the stub has heard the continue before this
    assert not machine.stub.held
    assert not any(body.startswith(b"m") for body in model.seen)


def test_the_stack_below_an_interrupts_is_read_once_that_is_known(
    model: StubModel, machine: Machine
) -> None:
    model.sps[0] = IRQ - 64
    points(model, IRQ, TASK - 128)
    reader = StackReader(machine)
    assert len(reader.sample(machine.vcpus)[1][0].memory) == 1
    irq, task = reader.sample(machine.vcpus)[1][0].memory
    assert (irq[0], len(irq[1])) == (IRQ - 64, 64)
    assert (task[0], len(task[1])) == (TASK - 128, 128)
    assert model.soon_runs()


def test_a_stack_that_somebody_stopped_is_read_and_stays_stopped(
    model: StubModel, machine: Machine
) -> None:
    model.stop_by_other()
    sampled = StackReader(machine).sample(machine.vcpus)[1]
    assert sampled[0].memory
    assert (machine.stub.held, model.running) == (True, False)
    model.resume_by_other()
    assert StackReader(machine).sample(machine.vcpus)[1][0].memory
    assert not machine.stub.held
    assert model.soon_runs()


def test_an_error_between_two_questions_lets_the_guest_go(
    model: StubModel, machine: Machine
) -> None:
    def asks_and_fails() -> None:
        with machine.stub.stopped() as stop:
            stop.ask([b"qC"])
            assert not model.running
            raise RuntimeError("ours")

    with pytest.raises(RuntimeError, match="ours"):
        asks_and_fails()
    assert machine.stub.exchange([b"qC"]).replies == [b"QCp01.01"]
    assert model.soon_runs()
