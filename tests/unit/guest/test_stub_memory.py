"""Reading much of a guest's memory: in few stops, none of them long."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.guest.gdbstub import Stub
from gprof.guest.memory import StubMemory
from symbols.memory import MemoryFault, gather
from tests.stub_model import StubModel

START = 0xFFFF_FFFF_8100_0000
PAGES = 300
BLOB = random.Random(7).randbytes(PAGES * 4096)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    model.memory = {START // 4096 + n: BLOB[n * 4096 :][:4096] for n in range(PAGES)}
    yield model
    model.close()


def packets_of_each_stop(model: StubModel) -> list[int]:
    """How many reads were asked for between one resumption of the guest and the next."""
    counts = [0]
    for packet in model.seen:
        if packet == b"c":
            counts.append(0)
        counts[-1] += packet[:1] == b"m"
    return [count for count in counts if count]


def test_much_is_read_in_few_short_stops(model: StubModel, stub: Stub) -> None:
    memory = StubMemory(stub)
    assert memory.read(START + 100, len(BLOB) - 100) == BLOB[100:]
    stops = packets_of_each_stop(model)
    assert max(stops) <= 129
    assert min(stops[:-1]) >= 8
    assert memory.cost.stops == len(stops)
    assert memory.cost.size == len(BLOB)
    assert memory.cost.halted_ns > 0


def test_what_was_read_is_kept_until_forgotten(model: StubModel, stub: Stub) -> None:
    memory = StubMemory(stub)
    memory.read(START, 8192)
    asked = len(model.seen)
    assert memory.read(START + 4090, 12) == BLOB[4090:4102]
    assert len(model.seen) == asked
    memory.forget()
    memory.read(START, 1)
    assert len(model.seen) > asked


def test_small_places_are_gathered_without_their_pages(model: StubModel, stub: Stub) -> None:
    memory = StubMemory(stub)
    spans = [(START + n * 16384, 64) for n in range(75)]
    found = gather(memory, [*spans, (START, 8192), (START - 64, 64), (START, 0)])
    assert found == [
        *(BLOB[n * 16384 :][:64] for n in range(75)), BLOB[:8192], None, b"",
    ]  # fmt: skip
    assert memory.cost.size == 75 * 64 + 8192


def test_a_hole_costs_one_stop_of_each_vcpu_once_the_kernel_was_seen(
    model: StubModel, stub: Stub
) -> None:
    memory = StubMemory(stub)
    memory.read(START, 4)
    before = memory.cost.stops
    with pytest.raises(MemoryFault):
        memory.read(0x1000, 4)
    assert memory.cost.stops == before + len(stub.vcpus)
    assert gather(memory, [(START - 4096, 16), (START, 4)]) == [None, BLOB[:4]]


def test_another_vcpu_is_asked_where_one_does_not_see(model: StubModel, stub: Stub) -> None:
    model.refused_threads = {0}
    memory = StubMemory(stub)
    assert memory.read(START, 4096) == BLOB[:4096]
    assert gather(memory, [(START + 4096, 16)]) == [BLOB[4096:4112]]


def test_what_one_vcpu_does_not_map_another_may(model: StubModel, stub: Stub) -> None:
    # Page-table isolation: in user mode only the entry to the kernel is mapped.
    model.unmapped_for[0] = {START // 4096 + 5}
    memory = StubMemory(stub)
    spans = [(START + n * 4096, 64) for n in range(8)]
    assert gather(memory, spans) == [BLOB[n * 4096 :][:64] for n in range(8)]
    assert memory.read(START, 8 * 4096) == BLOB[: 8 * 4096]


@pytest.mark.parametrize(("address", "size"), [(-1, 4), (START, -4), ((1 << 64) - 2, 4)])
def test_addresses_that_are_none_fault(stub: Stub, address: int, size: int) -> None:
    with pytest.raises(MemoryFault):
        StubMemory(stub).read(address, size)


def test_a_guest_that_is_gone_faults(model: StubModel, stub: Stub) -> None:
    memory = StubMemory(stub)
    memory.read(START, 4096)
    model.close()
    assert memory.read(START, 4096) == BLOB[:4096]
    with pytest.raises(MemoryFault):
        memory.read(START + 4096, 4096)
    assert gather(memory, [(START + 8192, 16)]) == [None]
