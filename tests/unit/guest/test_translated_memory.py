"""The kernel's memory read where no vcpu need see it: by its page tables, in physical memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gprof.guest import translated_memory
from gprof.guest.gdbstub import Stub
from gprof.guest.translated_memory import HideableMemory, TranslatedMemory
from symbols.memory import Memory, MemoryFault, gather
from symbols.paging import Mapped, NoTables, PageTables
from tests.stub_model import StubModel

START = 0x3FF_E000_0000
#: Of each page of the kernel from START on, its frame; none for the third.
FRAMES = [9, 8, 0, 7]
PAGES = [random.Random(frame).randbytes(4096) if frame else b"" for frame in FRAMES]
ROOT = 0x3000


@dataclass(frozen=True, slots=True)
class OneLevel:
    """A table with an entry of eight bytes, the number of its frame, for each page from START."""

    root: int

    def walk(self, physical: Memory, address: int) -> Mapped | None:
        page = (address - START) // 4096
        if not 0 <= page < 512:
            return None
        frame = int.from_bytes(physical.read(self.root + 8 * page, 8), "big")
        return Mapped(frame * 4096 + address % 4096, 4096 - address % 4096) if frame else None


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb")
    table = b"".join(frame.to_bytes(8, "big") for frame in FRAMES)
    model.physical = dict(zip(FRAMES, PAGES, strict=True))
    model.physical[ROOT // 4096] = table.ljust(4096, b"\0")
    # A program's memory, which a vcpu sees at the same addresses.
    model.memory = {START // 4096 + n: bytes([n]) * 4096 for n in range(4)}
    yield model
    model.close()


def kernel(stub: Stub) -> TranslatedMemory:
    return TranslatedMemory(stub, lambda: OneLevel(ROOT))


def test_it_is_the_kernel_that_is_read(model: StubModel, stub: Stub) -> None:
    memory = kernel(stub)
    assert memory.read(START + 100, 8000) == (PAGES[0] + PAGES[1])[100:8100]
    across = (START + 4090, 12)  # two frames that are no neighbours
    assert gather(memory, [across, (START + 3 * 4096, 64)]) == [
        PAGES[0][-6:] + PAGES[1][:6], PAGES[3][:64],
    ]  # fmt: skip
    assert memory.physical_address(START + 4097) == FRAMES[1] * 4096 + 1
    assert memory.readable([START, START + 0x2000, 0]) == [True, False, False]
    assert not model.reads_physical


def test_reading_is_counted_once(model: StubModel, stub: Stub) -> None:
    memory = kernel(stub)
    memory.read(START, 4096)
    assert memory.cost.stops == 2  # for the table and for the page
    assert memory.cost.size == 8192
    memory.read(START, 4096)
    assert memory.cost.stops == 2
    memory.forget()
    memory.read(START, 4096)
    assert memory.cost.stops == 4
    assert [packet for packet in model.seen if packet.startswith(b"Hg")] == []


def test_a_hole_faults(stub: Stub) -> None:
    memory = kernel(stub)
    with pytest.raises(MemoryFault):
        memory.read(START + 0x2000, 8)
    assert gather(memory, [(START + 0x1FF0, 32), (START, 4)]) == [None, PAGES[0][:4]]


def test_a_root_that_changes_is_found(
    model: StubModel, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots: Iterator[PageTables] = iter([NoTables(), OneLevel(0x10_0000), OneLevel(ROOT)])
    memory = TranslatedMemory(stub, lambda: next(roots))
    monkeypatch.setattr(translated_memory, "_ROOT_LIFETIME_S", 0.0)
    assert [memory.physical_address(START) for _ in range(2)] == [START, None]
    assert memory.read(START, 4096) == PAGES[0]


def test_a_stub_without_physical_memory_reads_nothing(model: StubModel, stub: Stub) -> None:
    model.physical = None
    with pytest.raises(MemoryFault):
        kernel(stub).read(START, 8)


def test_what_a_vcpu_sees_is_read_as_it_sees_it(model: StubModel, stub: Stub) -> None:
    memory = HideableMemory(stub, lambda: OneLevel(ROOT))
    assert memory.read(START, 8192) == model.memory[START // 4096] + model.memory[START // 4096 + 1]
    assert memory.readable([START, 0]) == [True, False]
    assert not any(packet.startswith(b"Qqemu") for packet in model.seen)


def test_what_no_vcpu_sees_is_read_by_tables(model: StubModel, stub: Stub) -> None:
    model.memory.clear()
    memory = HideableMemory(stub, lambda: OneLevel(ROOT))
    assert memory.readable([START, START + 0x2000]) == [True, False]
    assert memory.read(START + 100, 8000) == (PAGES[0] + PAGES[1])[100:8100]
    assert gather(memory, [(START + 0x2000, 8), (START + 0x3000, 8)]) == [None, PAGES[3][:8]]
    assert memory.cost.size > 8192


def test_what_user_mode_always_sees_tells_nothing_of_the_rest(model: StubModel, stub: Stub) -> None:
    shown = START // 4096 + 3
    model.memory = {shown: bytes(4096)}
    memory = HideableMemory(stub, lambda: OneLevel(ROOT), lambda at: at // 4096 == shown)
    assert memory.read(START + 0x3000, 8) == bytes(8)
    assert gather(memory, [(START, 8), (START + 0x3000, 8)]) == [PAGES[0][:8], bytes(8)]


def test_tables_that_change_while_the_kernel_is_hidden_are_read_anew(
    model: StubModel, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translated_memory, "_TABLES_LIFETIME_S", 0.0)
    model.memory.clear()
    memory = HideableMemory(stub, lambda: OneLevel(ROOT))
    memory.read(START, 4096)
    second = (5).to_bytes(8, "big").rjust(16, b"\0")
    model.physical = {5: PAGES[0], ROOT // 4096: second.ljust(4096, b"\0")}
    assert memory.read(START + 4096, 4096) == PAGES[0]


def test_tables_that_stay_are_learned_once_in_a_while(
    model: StubModel, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translated_memory, "_TABLES_LIFETIME_S", 1e9)
    model.memory.clear()
    asked = 0

    def root() -> PageTables:
        nonlocal asked
        asked += 1
        return OneLevel(ROOT)

    memory = HideableMemory(stub, root)
    table = b"m%x," % ROOT
    for number in range(1, 20):
        assert gather(memory, [(START + number, 8)]) == [PAGES[0][number : number + 8]]
    assert asked == 19  # that they are the same
    assert len([packet for packet in model.seen if packet.startswith(table)]) == 1
    memory.forget()
    gather(memory, [(START, 8)])
    assert len([packet for packet in model.seen if packet.startswith(table)]) == 2


def test_tables_of_a_process_that_ended_are_believed_no_more(
    model: StubModel, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translated_memory, "_TABLES_LIFETIME_S", 1e9)
    model.memory.clear()
    assert model.physical is not None
    roots = [ROOT, ROOT + 0x1000]
    memory = HideableMemory(stub, lambda: OneLevel(roots[0]))
    assert gather(memory, [(START, 8)]) == [PAGES[0][:8]]
    # Its table has become something else's page, and another process has one.
    model.physical[roots[1] // 4096] = model.physical[ROOT // 4096]
    model.physical[ROOT // 4096] = (7).to_bytes(8, "big") * 512
    del roots[0]
    assert gather(memory, [(START, 8)]) == [PAGES[0][:8]]


def test_where_nothing_tells_of_tables_the_vcpus_are_asked_again(
    model: StubModel, stub: Stub
) -> None:
    memory = HideableMemory(stub, lambda: None)
    model.unmapped_for = {0: {START // 4096}, 1: {START // 4096}}
    with pytest.raises(MemoryFault):
        memory.read(START, 8)
    model.unmapped_for.clear()
    assert memory.read(START, 8) == bytes(8)
