"""The guest's RAM in a process's memory: this process, which plays QEMU."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.errors import PermissionProblem, TargetError
from gprof.guest.address import Address
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.process_memory import ProcessMemory, RamRange, ram_ranges
from gprof.guest.qmp import Qmp
from gprof.guest.walked_memory import WalkedMemory
from symbols.memory import MemoryFault
from symbols.paging import NoTables, S390xTables
from symbols.tasks import CurrentPlaces
from tests.qmp_model import QmpModel

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "monitor"
TREE = (FIXTURES / "mtree.txt").read_text()

#: Two ranges with a hole between them; the tables and the page of the walk lie in the first.
LAYOUT = """FlatView #0
 AS "I/O", root: io
  0000000000000000-0000000000000fff (prio 0, ram): not.this

FlatView #1
 AS "memory", root: system
  0000000000000000-0000000000007fff (prio 0, ram): pc.ram
  0000000000008000-0000000000008fff (prio 1, i/o): device
  0000000000010000-0000000000010fff (prio 0, rom): pc.bios
"""


class Ram:
    """Bytes of this process that the model of the monitor gives out as the guest's."""

    def __init__(self, model: QmpModel) -> None:
        self.low = ctypes.create_string_buffer(0x8000)
        self.high = ctypes.create_string_buffer(b"firmware", 0x1000)
        for start, piece in ((0, self.low), (0x10000, self.high)):
            model.human[f"gpa2hva {start:#x}"] = (
                f"Host virtual address for {start:#x} (pc.ram) is {ctypes.addressof(piece):#x}\n"
            )
        model.human["info mtree -f"] = LAYOUT
        model.commands["query-cpus-fast"] = [
            {"cpu-index": 0, "thread-id": threading.get_native_id(), "target": "x86_64"}
        ]

    def store(self, address: int, value: int) -> None:
        ctypes.memmove(ctypes.addressof(self.low) + address, value.to_bytes(8, "little"), 8)


@pytest.fixture
def model(tmp_path: Path) -> Iterator[QmpModel]:
    model = QmpModel(tmp_path / "qmp")
    yield model
    model.close()


@pytest.fixture
def ram(model: QmpModel) -> Ram:
    return Ram(model)


@pytest.fixture
def client(model: QmpModel) -> Iterator[Qmp]:
    client = Qmp(Address.parse(str(model.path)))
    yield client
    client.close()


def test_the_ranges_of_a_real_machine() -> None:
    assert [(one.start, one.end) for one in ram_ranges(TREE)] == [
        (0, 0xC3000), (0xC3000, 0xE8000), (0xE8000, 0xF0000), (0xF0000, 0x100000),
        (0x100000, 0x1000000), (0xFFFC0000, 0x100000000),
    ]  # fmt: skip


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from([*TREE.splitlines(True), "FlatView #", "-", "f" * 17])).map("".join)
)
def test_any_text_gives_ordered_ranges(text: str) -> None:
    last = 0
    for one in ram_ranges(text):
        assert isinstance(one, RamRange)
        assert last <= one.start < one.end <= 1 << 64
        last = one.end


def test_ram_is_read_and_nothing_else(ram: Ram, client: Qmp) -> None:
    memory = ProcessMemory.open(client)
    assert memory.pid == os.getpid()
    ram.store(0x7FF8, 0x1122334455667788)
    assert memory.read(0x7FF8, 8) == bytes.fromhex("8877665544332211")
    assert memory.read(0x10000, 8) == b"firmware"
    for address in (0x7FFC, 0x8000, 0x10FFC, 1 << 63, (1 << 64) - 4):
        with pytest.raises(MemoryFault):
            memory.read(address, 8)
    memory.close()
    memory.close()


def test_host_addresses_are_asked_for_once(model: QmpModel, ram: Ram, client: Qmp) -> None:
    memory = ProcessMemory.open(client)
    for _ in range(3):
        memory.read(0x100, 8)
    assert model.seen.count("gpa2hva 0x0") == 1
    memory.close()


def test_a_host_address_that_is_none(model: QmpModel, ram: Ram, client: Qmp) -> None:
    model.human["gpa2hva 0x0"] = "Host virtual address for 0x0 (pc.ram) is 0xfffffffffffff000\n"
    model.human["gpa2hva 0x10000"] = "No memory is mapped at address 0x10000\n"
    with pytest.raises(TargetError, match="not found"):
        ProcessMemory.open(client)


def test_a_process_without_the_vcpus_threads_is_not_qemu(
    model: QmpModel, ram: Ram, client: Qmp
) -> None:
    model.commands["query-cpus-fast"] = [{"cpu-index": 0, "thread-id": 1}]
    with pytest.raises(TargetError, match="not to be seen"):
        ProcessMemory.open(client)


def test_a_right_that_is_missing_is_named(
    ram: Ram, client: Qmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionProblem) as refused:
        ProcessMemory.open(client)
    assert "ptrace_scope" in refused.value.remedy


def test_the_kernels_view_by_the_vcpus_own_tables(
    model: QmpModel, ram: Ram, client: Qmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CR3 in the model's registers is 0x202000; here the tables begin at 0x2000.
    text = client.human_monitor("info registers -a")
    model.human["info registers -a"] = text.replace("CR3=0000000000202000", "CR3=0000000000003000")
    # User code runs on the second of two neighbouring tables: the kernel's is at 0x2000.
    address = 0xFFFF_FFFF_8100_0000
    for table, entry, level in ((0x2000, 0x4003, 3), (0x4000, 0x5003, 2), (0x5000, 0x6003, 1),
                                (0x6000, 0x1003, 0)):  # fmt: skip
        ram.store(table + 8 * (address >> (12 + 9 * level) & 0x1FF), entry)
    ram.store(0x1010, 0xABCDEF)
    machine = MonitoredMachine(client)
    assert machine.why_packets is None
    assert isinstance(machine.memory, WalkedMemory)
    assert machine.memory_way == f"read out of QEMU's own memory (process {os.getpid()})"
    assert machine.memory.read(address + 0x10, 3) == b"\xef\xcd\xab"
    ram.store(0x1010, 0)
    assert machine.memory.read(address + 0x10, 3) == b"\xef\xcd\xab"  # text stays
    machine.forget()
    assert machine.memory.read(address + 0x10, 3) == bytes(3)
    with pytest.raises(MemoryFault):
        machine.memory.read(address + 0x1000, 1)
    assert not machine.stops_it
    machine.close()


def test_s390x_has_the_kernel_in_its_home_space(
    model: QmpModel, ram: Ram, client: Qmp, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = {"cr1": 0x5003, "cr13": 0x2000}
    monkeypatch.setattr(MonitoredMachine, "register", lambda _, name: roots[name])
    model.commands["query-target"] = {"arch": "s390x"}
    for place, entry in ((0x2000 + 8 * 3, 0x4000), (0x4000 + 8 * 5, 0x1000)):
        ram.store(place, int.from_bytes(entry.to_bytes(8, "big"), "little"))
    ram.store(0x1010, 0xABCDEF)
    machine = MonitoredMachine(client)
    assert machine.why_packets is None
    assert machine.memory.read(0x30_5010, 3) == b"\xef\xcd\xab"
    assert machine.tables() == [S390xTables(0x2000)]
    assert machine.follow_tasks(CurrentPlaces(lowcore=0x340))
    roots["cr13"] = 0
    assert machine.tables() == [NoTables()]
    machine.close()


@pytest.mark.parametrize("enabled", [True, False])
def test_an_emulated_s390x_that_runs_is_not_asked_for_registers(
    model: QmpModel, ram: Ram, client: Qmp, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    model.commands["query-target"] = {"arch": "s390x"}
    model.commands["query-kvm"] = {"enabled": enabled, "present": True}
    model.human["info registers -a"] = (FIXTURES / "s390x.txt").read_text()
    machine = MonitoredMachine(client)
    if enabled:
        assert machine.sample((0, 1)).sampled[0].state is not None
    else:
        with pytest.raises(TargetError, match="may end"):
            machine.sample((0, 1))
    assert ("info registers -a" in model.seen) == enabled
    machine.close()


def test_without_permission_the_stub_is_the_way(model: QmpModel, client: Qmp) -> None:
    machine = MonitoredMachine(client)  # the model's threads are no process's
    assert machine.why_packets is not None
    assert "gdbstub" in machine.memory_way
    with pytest.raises(MemoryFault):
        machine.memory.read(0x1000, 1)  # the model opens none
    assert any(line.startswith("gdbserver unix:") for line in model.seen)
    machine.close()
