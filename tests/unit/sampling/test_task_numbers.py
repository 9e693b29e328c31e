"""Tasks of samples become ids, read anew now and then, and never while a sample is taken."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.sampling.halting import HaltingOptions, HaltingSource
from gprof.sampling.task_numbers import Following, TaskNumbers
from symbols.structures import Structures
from symbols.tasks import CurrentPlaces, Task, Tasks
from tests.stub_model import StubModel
from tests.unit.symbols.kernel_memory import KernelMemory
from tests.unit.symbols.test_tasks import put_task

SECOND = 1_000_000_000
PER_CPU = 0x1FBC0


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    yield model
    model.close()


def following(structures: Structures, table: TaskTable) -> Following:
    def number(task: Task) -> int:
        return table.add(GuestTask(0, task.pid, task.tgid, task.comm, task.kernel_thread))

    places = CurrentPlaces(per_cpu=PER_CPU)
    return Following(places, Tasks(structures), structures.memory, number)


def test_names_are_believed_for_a_second() -> None:
    kernel = KernelMemory()
    shell, other = put_task(kernel, 5, b"sh"), put_task(kernel, 6, b"cat")
    structures, table = kernel.structures(), TaskTable()
    numbers = TaskNumbers(following(structures, table))
    assert numbers.of([0, shell, 0, other, shell], 0) == [0, 1, 0, 2, 1]
    struct.pack_into("<16s", kernel.pieces[shell], 400, b"sleep")
    structures.memory = kernel.structures().memory
    assert numbers.of([shell, other], SECOND - 1) == [1, 2]
    assert numbers.of([shell, other], SECOND) == [3, 2]
    assert [table[n] for n in (1, 3)] == [GuestTask(0, 5, 5, "sh"), GuestTask(0, 5, 5, "sleep")]
    struct.pack_into("<16s", kernel.pieces[shell], 400, b"true")
    structures.memory = kernel.structures().memory
    numbers.forget()
    assert numbers.of([shell], SECOND) == [4]


def test_what_is_no_task_has_no_number() -> None:
    kernel = KernelMemory()
    numbers = TaskNumbers(following(kernel.structures(), TaskTable()))
    assert numbers.of([1 << 63, (1 << 64) - 8, 0x1000], 0) == [0, 0, 0]
    assert numbers.of([], 0) == []


def test_very_many_tasks_are_named_a_little_later() -> None:
    kernel = KernelMemory()
    tasks = [put_task(kernel, pid, b"sh") for pid in range(1, 101)]
    numbers = TaskNumbers(following(kernel.structures(), TaskTable()))
    first = numbers.of(tasks, 0)
    assert first == [*range(1, 65), *[0] * 36]
    assert numbers.of(tasks, 0) == list(range(1, 101))


def test_samples_through_the_stub_have_their_task(model: StubModel) -> None:
    kernel = KernelMemory()
    addresses = [
        put_task(kernel, 77, b"sh"),
        put_task(kernel, 9, b"kworker/0:1", flags=0x0020_0000),
    ]
    for base, address in zip(model.gs_bases, addresses, strict=True):
        kernel.put(address.to_bytes(8, "little"), base + PER_CPU)
    structures = kernel.structures()
    for at, data in kernel.pieces.items():
        for page in (at // 4096, (at + len(data) - 1) // 4096):
            model.memory[page] = structures.memory.read(page * 4096, 4096)
    machine = Machine(Stub(Address.parse(str(model.path))))
    memory = machine.fresh_memory()
    table = TaskTable()
    follow = following(Structures(memory, structures.btf), table)
    options = HaltingOptions(hz=500, max_halted=1, following=follow)
    source = HaltingSource(machine, options, random.Random(1))
    taken = []
    for batch in source.batches():
        taken += list(zip(batch.vcpu.tolist(), batch.task.tolist(), strict=True))
        if len(taken) >= 60:
            source.close()
    assert [table[task] for _, task in taken[:2]] == [None, None]  # the first of each vcpu
    assert {(vcpu, table[task]) for vcpu, task in taken[2:]} == {
        (0, GuestTask(0, 77, 77, "sh")),
        (1, GuestTask(0, 9, 9, "kworker/0:1", kernel_thread=True)),
    }
    # Neither task is read more often than once a second, and each in one piece.
    reads = [body for body in model.seen if body.endswith(b",174")]
    assert {body[:-4] for body in reads} == {b"m%x" % (address + 44) for address in addresses}
    assert len(reads) <= 2 * (source.facts().covered_ns // SECOND + 2)
    assert source.facts().halted_ns > 0
