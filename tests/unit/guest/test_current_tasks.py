"""What is asked in a stop for the tasks of vcpus, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.address import Address
from gprof.guest.current_tasks import CurrentTasks
from gprof.guest.gdbstub import Stub
from gprof.guest.greeting import Vcpu
from gprof.guest.machine import Machine
from gprof.guest.registers import Register, RegisterFile
from gprof.guest.stack_reader import StackReader
from gprof.guest.translated_memory import PHYSICAL, VIRTUAL
from symbols.tasks import CurrentPlaces
from tests.stub_model import StubModel

TASK = 0xFFFF_8880_0123_4500
AREA = 0xFFFF_8880_3FC0_0000
PER_CPU = 0x1FBC0
VCPU = Vcpu(0, b"p01.01")


def file_of(*names: str, order: str = "little") -> RegisterFile:
    """Registers of eight bytes each, one after the other."""
    registers = {name: Register(name, i, 64, 8 * i) for i, name in enumerate(names)}
    return RegisterFile("", registers, order)


def digits(value: int, order: str = "little") -> bytes:
    return value.to_bytes(8, "big" if order == "big" else "little").hex().encode()


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    yield model
    model.close()


def give_tasks(model: StubModel) -> list[int]:
    """Put the pointers to tasks where the kernel of the model has them."""
    tasks = []
    for i, base in enumerate(model.gs_bases):
        tasks.append(TASK + i * 0x4000)
        page = bytearray(4096)
        at = (base + PER_CPU) % 4096
        page[at : at + 8] = tasks[i].to_bytes(8, "little")
        model.memory[(base + PER_CPU) // 4096] = bytes(page)
    return tasks


def asked(model: StubModel) -> int:
    """How many questions came; what lets the guest go may come after the answers are here."""
    return sum(body not in {b"c", b"qAttached"} for body in model.seen)


def test_the_second_sample_tells_tasks_for_one_more_packet_a_vcpu(model: StubModel) -> None:
    machine = Machine(Stub(Address.parse(str(model.path))))
    tasks = give_tasks(model)
    model.seen.clear()
    machine.sample(machine.vcpus)
    without = asked(model)
    machine.follow_tasks(CurrentPlaces(per_cpu=PER_CPU))
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == [0, 0]
    model.seen.clear()
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == tasks
    assert asked(model) == without + len(tasks)
    model.code_segments[1] = 0x33  # its base changes places with that of the program
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == tasks
    machine.close()


def test_an_answer_from_the_wrong_place_is_dropped(model: StubModel) -> None:
    machine = Machine(Stub(Address.parse(str(model.path))))
    machine.follow_tasks(CurrentPlaces(per_cpu=PER_CPU))
    tasks = give_tasks(model)
    machine.sample(machine.vcpus)
    model.gs_bases.reverse()
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == [0, 0]
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == tasks[::-1]
    model.refused_threads = {1}
    assert [one.task for one in machine.sample(machine.vcpus)[1]] == [tasks[1], 0]
    machine.close()


def test_with_stacks_tasks_are_told_too(model: StubModel) -> None:
    machine = Machine(Stub(Address.parse(str(model.path))))
    machine.follow_tasks(CurrentPlaces(per_cpu=PER_CPU))
    tasks = give_tasks(model)
    for sp in model.sps:
        model.memory[sp // 4096] = bytes(4096)
    reader = StackReader(machine)
    reader.sample(machine.vcpus)
    sampled = reader.sample(machine.vcpus)[1]
    assert [one.task for one in sampled] == tasks
    assert [[start for start, _ in one.memory] for one in sampled] == [[sp] for sp in model.sps]
    machine.close()


@pytest.mark.parametrize("user", [True, False])
def test_aarch64_is_asked_where_its_entry_task_is(user: bool) -> None:
    registers = file_of("x0", "SP_EL0", "TPIDR_EL1")
    tasks = CurrentTasks("aarch64", CurrentPlaces(entry_task=0x3000))
    answers = [digits(AREA), digits(TASK)]
    assert tasks.questions(VCPU, registers) == [b"p2", b"m0,8"]
    assert tasks.pointer(VCPU, registers, b"", answers, user=user) == 0
    assert tasks.questions(VCPU, registers) == [b"p2", b"m%x,8" % (AREA + 0x3000)]
    assert tasks.count(registers) == 2
    assert tasks.pointer(VCPU, registers, b"", answers, user=user) == TASK
    tasks.questions(VCPU, registers)
    assert tasks.pointer(VCPU, registers, b"", [answers[0], b"E14"], user=user) == 0


def test_aarch64_is_asked_in_physical_memory_where_the_kernel_hides_itself() -> None:
    registers = file_of("x0", "TPIDR_EL1")
    hidden = {AREA + 0x3000: 0x4100_3000}
    tasks = CurrentTasks("aarch64", CurrentPlaces(entry_task=0x3000), hidden=hidden)
    assert tasks.count(registers) == len(tasks.questions(VCPU, registers)) == 4
    answers = [digits(AREA), b"OK", digits(TASK), b"OK"]
    assert tasks.pointer(VCPU, registers, b"", answers, user=True) == 0
    assert tasks.questions(VCPU, registers)[1:] == [PHYSICAL, b"m41003000,8", VIRTUAL]
    assert tasks.pointer(VCPU, registers, b"", answers, user=True) == TASK
    refused = [answers[0], b"", *answers[2:]]
    assert tasks.pointer(VCPU, registers, b"", refused, user=True) == 0
    # One that has its data elsewhere: what is read there is nobody's pointer.
    elsewhere = [digits(AREA + 0x1000), *answers[1:]]
    for _ in range(2):
        assert tasks.pointer(VCPU, registers, b"", elsewhere, user=True) == 0
        tasks.questions(VCPU, registers)


def test_aarch64_without_an_entry_task_tells_that_of_the_kernel() -> None:
    registers = file_of("x0", "SP_EL0", "TPIDR_EL1")
    tasks = CurrentTasks("aarch64", CurrentPlaces())
    assert tasks.questions(VCPU, registers)[0] == b"p1"
    answers = [digits(TASK), b"E14"]
    assert tasks.pointer(VCPU, registers, b"", answers, user=False) == TASK
    assert tasks.pointer(VCPU, registers, b"", answers, user=True) == 0


def test_riscv64_has_it_in_registers() -> None:
    registers = file_of("tp", "sscratch")
    tasks = CurrentTasks("riscv64", CurrentPlaces())
    assert tasks.questions(VCPU, registers) == [b"p1"]
    assert tasks.pointer(VCPU, registers, digits(TASK), [digits(0)], user=False) == TASK
    assert tasks.pointer(VCPU, registers, digits(0x7F00), [digits(TASK)], user=True) == TASK


def test_s390x_has_it_in_the_lowcore() -> None:
    registers = file_of("pswm", "pswa", order="big")
    tasks = CurrentTasks("s390x", CurrentPlaces(lowcore=0x340, little_endian=False))
    answer = [digits(0x8A00, "big")]
    for found in (0, 0x8A00):
        asked = tasks.questions(VCPU, registers)
        assert tasks.pointer(VCPU, registers, b"", answer, user=False) == found
    assert asked == [b"m340,8"]
    assert tasks.pointer(VCPU, registers, b"", answer, user=True) == 0


@pytest.mark.parametrize("user", [True, False])
@pytest.mark.parametrize("shown", [True, False])
def test_s390x_has_its_lowcore_where_its_prefix_says(user: bool, shown: bool) -> None:
    registers = file_of("pswm", "pswa", *(["prefix"] if shown else []), order="big")
    known = {} if shown else {VCPU.index: 0x3F_C000}
    tasks = CurrentTasks("s390x", CurrentPlaces(lowcore=0x340, little_endian=False), known)
    before = [digits(0x3F_C000, "big")] if shown else []
    answers = [*before, b"OK", digits(0x8A00, "big"), b"OK"]
    for found in (0, 0x8A00):
        asked = tasks.questions(VCPU, registers)
        assert tasks.count(registers) == len(asked) == len(answers)
        assert tasks.pointer(VCPU, registers, b"", answers, user=user) == found
    assert asked[-3:] == [b"Qqemu.PhyMemMode:1", b"m3fc340,8", b"Qqemu.PhyMemMode:0"]
    # What a stub answers that cannot read physical memory is not from there.
    assert tasks.pointer(VCPU, registers, b"", [*before, b"", *answers[-2:]], user=user) == 0
    assert tasks.pointer(Vcpu(1, b"p01.02"), registers, b"", answers[-3:], user=user) == 0


@given(
    st.sampled_from(["x86_64", "aarch64", "s390x", "riscv64", "ppc64"]),
    st.binary(max_size=40),
    st.lists(st.binary(max_size=20) | st.just(digits(TASK)), min_size=3, max_size=3),
    st.booleans(),
)
def test_any_answers_give_a_pointer_or_none(
    name: str, reply: bytes, answers: list[bytes], user: bool
) -> None:
    registers = file_of("gs_base", "tp", "sscratch", "TPIDR_EL1", "TPIDR_EL2", "prefix")
    tasks = CurrentTasks(name, CurrentPlaces(PER_CPU, 0x3000, 0x340))
    for _ in range(2):
        count = len(tasks.questions(VCPU, registers))
        assert count == tasks.count(registers)
        found = tasks.pointer(VCPU, registers, reply, answers[:count], user=user)
        assert 0 <= found < 1 << 64
