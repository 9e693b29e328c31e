"""Registers of vcpus that run: asked for until their place in QEMU's memory is known, and again."""

from __future__ import annotations

from typing import cast

import pytest

from gprof.guest import live_registers
from gprof.guest.architectures import VcpuState
from gprof.guest.live_registers import LiveRegisters
from gprof.guest.mode import Mode
from gprof.guest.monitor import Monitor
from gprof.guest.monitor_registers import states
from gprof.guest.process_memory import ProcessMemory
from symbols.memory import MemoryFault
from tests.unit.guest.qemu_heap import GENERAL, Heap


class Qemu(Heap):
    """With a monitor that prints the registers, and guest memory where paging is off.

    Attributes:
        asked: how often it printed them.
        code: bytes of the guest's code, by address.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.code: dict[int, bytes] = {}
        for of in self.vcpus.values():
            of["cr0"] = 0x11
        self.write()

    def human_monitor(self, command: str) -> str:
        assert command == "info registers -a"
        self.asked += 1
        return "\n".join(self.block(index) for index in self.vcpus)

    def block(self, index: int) -> str:
        of = self.vcpus[index]
        return "\n".join([
            f"\nCPU#{index}",
            *(f"{name.upper():3}={of[name]:016x}" for name in GENERAL),
            f"RIP={of['pc']:016x} CPL={of['level']} SMM=0 HLT=0",
            *(f"{name}={of[name.lower()]:016x}" for name in ("CR0", "CR3", "CR4")),
            f"CS =0010 {of['code base']:016x} ffffffff 00af9b00",
            f"GS =0000 {of['gs base']:016x} 00000000 00000000",
            f"GDT=     {of['gdt base']:016x} {of['gdt limit']:08x}",
            f"IDT=     {of['idt base']:016x} {of['idt limit']:08x}",
        ])  # fmt: skip

    def read(self, address: int, size: int) -> bytes:
        if address not in self.code:
            raise MemoryFault(address, size)
        return self.code[address]


def live(qemu: Qemu, architecture: str = "x86_64", *, own: bool = True) -> LiveRegisters:
    memory = cast("ProcessMemory", qemu) if own else None
    return LiveRegisters(cast("Monitor", qemu), architecture, memory)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_registers, "_FIRST_SEARCH", 0.0)
    monkeypatch.setattr(live_registers, "_COMPARE_EVERY", 0.0)
    monkeypatch.setattr(live_registers, "_SEARCH_AGAIN", 0.0)


def test_the_monitor_is_not_asked_once_the_place_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_registers, "_COMPARE_EVERY", 3600.0)
    qemu = Qemu()
    registers = live(qemu)
    registers.read()
    assert registers.place_known
    asked = qemu.asked
    for pc in (0x1000, 0x2000):
        qemu.vcpus[1]["pc"] = pc
        qemu.write()
        assert registers.read()[1]("pc") == registers.recent(60.0)[1]("pc") == pc
    assert qemu.asked == asked


@pytest.mark.parametrize(("architecture", "own"), [("x86_64", False), ("riscv64", True)])
def test_elsewhere_the_monitor_is_asked_each_time(architecture: str, own: bool) -> None:
    qemu = Qemu()
    registers = live(qemu, architecture, own=own)
    for count in (1, 2, 3):
        assert registers.read().keys() == qemu.vcpus.keys()
        assert qemu.asked == count
    assert not registers.place_known


def test_who_stands_behind_hlt_is_idle() -> None:
    qemu = Qemu()
    registers = live(qemu)
    qemu.vcpus[0]["pc"], qemu.vcpus[1]["pc"] = 0x1001, 0x2001
    qemu.code = {0x1000: b"\xf4", 0x2000: b"\x90"}
    qemu.write()
    found = states(registers.read(), "x86_64")
    assert registers.place_known
    assert found == {0: VcpuState(0x1001, Mode.IDLE), 1: VcpuState(0x2001, Mode.FIRMWARE)}
    qemu.code = {}  # as after a reset: nothing is believed of the code
    registers.forget()
    assert states(registers.read(), "x86_64")[0] == VcpuState(0x1001, Mode.FIRMWARE)


def test_where_the_memory_changes_its_meaning_the_monitor_is_asked_again() -> None:
    qemu = Qemu()
    registers = live(qemu)
    registers.read()
    known = [registers.place_known]
    for at in qemu.places.values():
        qemu.store(at, bytes(600))
    assert registers.read()[0]("pc") == qemu.vcpus[0]["pc"]
    known.append(registers.place_known)
    qemu.write()
    registers.read()
    assert [*known, registers.place_known] == [True, False, True]


def test_a_qemu_that_has_gone_is_the_monitors_to_tell() -> None:
    qemu = Qemu()
    registers = live(qemu)
    registers.read()
    qemu.data.clear()
    asked = qemu.asked
    assert registers.read()[1]("pc") == qemu.vcpus[1]["pc"]
    assert qemu.asked > asked
