"""The registers in QEMU's own memory, on a model of its heap: found only where they are."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.emulated_vcpus import EmulatedVcpus
from gprof.guest.monitor_registers import Reading
from tests.unit.guest.qemu_heap import GENERAL, KERNEL, Heap, registers, state


def test_every_vcpu_is_found_and_read() -> None:
    heap = Heap(vcpus=3)
    vcpus = EmulatedVcpus.find(heap, heap.ask)
    assert vcpus is not None
    heap.vcpus[1] |= {"pc": KERNEL + 77, "level": 3, "cr3": 0x1234000}
    heap.write()
    found = vcpus.read()
    assert found.keys() == heap.vcpus.keys()
    for index, of in heap.vcpus.items():
        assert {name: found[index](name) for name in of} == of
    assert found[0]("halted") is None


def test_vcpus_at_work_are_found_as_soon_as_one_rests_for_a_moment() -> None:
    heap = Heap()
    asked = 0

    def ask() -> dict[int, Reading]:
        nonlocal asked
        asked += 1
        for of in heap.vcpus.values():
            of["pc"] += 5 * (asked % 3 > 0)
            of["rax"] += 1
        said = heap.ask()
        heap.write()
        return said

    vcpus = EmulatedVcpus.find(heap, ask)
    assert vcpus is not None
    assert vcpus.read()[1]("pc") == heap.vcpus[1]["pc"]


def _other_layout(heap: Heap) -> None:
    for index, at in heap.places.items():
        of = state(heap.vcpus[index])
        heap.store(at, of[8:136] + of[:8] + of[136:])  # pc before the last register


def _shorter(heap: Heap) -> None:
    for index, at in heap.places.items():
        heap.store(at, bytes(184) + state(heap.vcpus[index])[184:])


def _not_started(heap: Heap) -> None:
    heap.vcpus[1] |= {"idt base": 0, "idt limit": 0xFFFF, "cr0": 0x6000_0010}
    heap.write()


def _twins(heap: Heap) -> None:
    heap.vcpus[1] = heap.vcpus[0]
    heap.write()


def _nothing(heap: Heap) -> None:
    heap.data = bytearray(len(heap.data))


def _gone(heap: Heap) -> None:
    heap.data = bytearray()


@pytest.mark.parametrize(
    "changed", [_other_layout, _shorter, _not_started, _twins, _nothing, _gone]
)
def test_what_is_in_doubt_is_not_found(changed: Callable[[Heap], None]) -> None:
    heap = Heap()
    changed(heap)
    assert EmulatedVcpus.find(heap, heap.ask) is None


def test_an_old_copy_is_not_taken_for_it() -> None:
    heap = Heap()
    old = registers(0)
    for name in GENERAL:
        old[name] ^= 0xFF00
    heap.store(0x400, state(old))
    vcpus = EmulatedVcpus.find(heap, heap.ask)
    assert vcpus is not None
    assert vcpus.read()[0]("rsp") == heap.vcpus[0]["rsp"]


def test_memory_that_became_something_else_does_not_agree() -> None:
    heap = Heap()
    vcpus = EmulatedVcpus.find(heap, heap.ask)
    assert vcpus is not None
    assert vcpus.agrees(heap.ask)
    heap.store(heap.places[1], bytes(600))
    assert not vcpus.agrees(heap.ask)
    _gone(heap)
    assert vcpus.read() == {}
    assert not vcpus.agrees(heap.ask)


@given(st.data())
def test_any_heap_gives_what_the_monitor_says_or_nothing(data: st.DataObject) -> None:
    heap = Heap(size=2 << 20)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.sampled_from(sorted(heap.places.values()))) + data.draw(
            st.integers(-600, 600)
        )
        heap.store(at, data.draw(st.binary(max_size=100)))
    vcpus = EmulatedVcpus.find(heap, heap.ask)
    if vcpus is not None:
        for index, read in vcpus.read().items():
            for name in ("pc", "rsp", "cr0", "cr4", "gdt base", "idt base"):
                assert read(name) == heap.vcpus[index][name]


@given(st.integers(0, 5000))
def test_thousands_of_tables_are_none(copies: int) -> None:
    heap = Heap(vcpus=1, size=2 << 20)
    table = struct.pack("<QI", heap.vcpus[0]["idt base"], 0xFFF)
    for number in range(copies):
        heap.store(0x1000 + 16 * number, table)
    vcpus = EmulatedVcpus.find(heap, heap.ask)
    assert vcpus is None or vcpus.read()[0]("pc") == heap.vcpus[0]["pc"]
