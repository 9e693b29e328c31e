"""Dumps of guests whose registers do not tell where their page tables are, and of s390x's."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gprof.errors import FormatError
from gprof.guest.core_machine import CoreMachine
from gprof.guest.mode import Mode
from symbols.memory import MemoryFault
from symbols.slide import Method
from tests.unit.guest.core_writing import core, look_at, note

RAM = 0x4000_0000
ROOT, NOTE, TEXT_FRAME = 0x1000, 0x8000, 0x5000  # in RAM
PC = 0x123
MACHINES = {"aarch64": 183, "riscv64": 243, "s390x": 22}
STEXT = {
    "aarch64": 0xFFFF_A0E4_1001_0000,
    "riscv64": 0xFFFF_FFFF_8000_2000,
    "s390x": 0x000A_0000,
}


def registers(*words: int, order: str = "<") -> bytes:
    """The note of a vcpu, `struct elf_prstatus`."""
    content = bytes(112) + struct.pack(f"{order}{len(words)}Q", *words)
    return note(b"CORE", content, 1, order)


def mapped(address: int, levels: int, table_bit: int, page: int, shift: int = 0) -> bytearray:
    """RAM with tables of 512 entries that map one page at `address`."""
    data = bytearray(0x10000)
    for level in reversed(range(levels)):
        table = ROOT + 0x1000 * (levels - 1 - level)
        target = RAM + (table + 0x1000 if level else TEXT_FRAME)
        index = address >> (12 + 9 * level) & 0x1FF
        entry = (target >> 12 << 10 if shift else target) | (table_bit if level else page)
        struct.pack_into("<Q", data, table + 8 * index, entry)
    data[TEXT_FRAME : TEXT_FRAME + 4] = b"text"
    return data


def told(*lines: str) -> bytes:
    text = "\n".join(["OSRELEASE=6.12.0", "PAGESIZE=4096", *lines, ""]).encode()
    return struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text


def aarch64(*, stale: bool = False) -> bytes:
    stext = STEXT["aarch64"]
    far = 0xFFFF_A0E3_D000_0000  # kimage_voffset
    data = mapped(stext, 4, 3, 3)
    facts = [
        f"SYMBOL(_stext)={stext:x}",
        f"SYMBOL(swapper_pg_dir)={RAM + ROOT + far:x}",
        f"NUMBER(kimage_voffset)={far:#x}",
        "NUMBER(TCR_EL1_T1SZ)=0x10",
    ]
    if stale:  # of a kernel that ran before, whose tables are overwritten
        before = [facts[0], f"SYMBOL(swapper_pg_dir)={RAM + 0xF000 + far:x}", *facts[2:]]
        data[NOTE - 0x1000 : NOTE] = told(*before).ljust(0x1000, b"\0")
    data[NOTE : NOTE + 0x1000] = told(*facts).ljust(0x1000, b"\0")
    kernel = registers(*range(31), 0x77, stext + PC, 0x5)
    user = registers(*range(31), 0x88, 0x40_0000, 0x0)
    return core(kernel + user, [(RAM, bytes(data))], machine=MACHINES["aarch64"])


def riscv64() -> bytes:
    stext = STEXT["riscv64"]
    far = stext - RAM - TEXT_FRAME
    data = mapped(stext, 4, 1, 0xB, shift=1)
    facts = told(
        f"SYMBOL(_stext)={stext:x}",
        f"SYMBOL(swapper_pg_dir)={RAM + ROOT + far:x}",
        f"NUMBER(va_kernel_pa_offset)={far:#x}",
        "NUMBER(VA_BITS)=48",
    )
    data[NOTE : NOTE + 0x1000] = facts.ljust(0x1000, b"\0")
    kernel = registers(stext + PC, 1, 0x77, *range(3, 32))
    user = registers(0x1_0000, 1, 0x88, *range(3, 32))
    return core(kernel + user, [(RAM, bytes(data))], machine=MACHINES["riscv64"])


def s390x(pc: int = STEXT["s390x"] + PC) -> bytes:
    stext = STEXT["s390x"]
    ram = bytearray(0x10_0000)
    struct.pack_into(">Q", ram, 0x4000, 0x6000)  # segment table, then page table
    struct.pack_into(">QQ", ram, 0x6000 + 8 * (stext >> 12) - 8, 1 << 10, stext)  # invalid, valid
    ram[stext : stext + 4] = b"text"
    prefix = 0x8000
    struct.pack_into(">QQ", ram, prefix + 0x150, 0x0704_C001_8000_0000, stext + 0x88)
    struct.pack_into(">QQ", ram, prefix + 0x1D0, 0x0404_C001_8000_0000, stext + 0x40)
    notes = b""
    for mask, address in ((0x0704_C001_8000_0000, pc), (0x0705_D001_8000_0000, 0x1000)):
        notes += registers(mask, address, *range(16), order=">")
        controls = struct.pack(">16Q", *(0x4003 if number == 13 else 0 for number in range(16)))
        notes += note(b"LINUX", controls, 0x304, ">")
        notes += note(b"LINUX", struct.pack(">I", prefix), 0x305, ">")
    return core(notes, [(0, bytes(ram))], machine=MACHINES["s390x"], order=">")


MADE = {"aarch64": aarch64(), "riscv64": riscv64(), "s390x": s390x()}


@pytest.mark.parametrize("architecture", MADE)
def test_vcpus_and_memory(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(MADE[architecture])
    machine = CoreMachine(path)
    stext = STEXT[architecture]
    assert machine.architecture.name == architecture
    assert machine.memory.read(stext, 4) == b"text"
    with pytest.raises(MemoryFault):
        machine.memory.read(stext - 0x1000, 4)
    kernel, user = machine.sampled()
    assert kernel.state is not None
    assert (kernel.state.pc, kernel.state.mode) == (stext + PC, Mode.KERNEL)
    assert kernel.registers is not None
    assert kernel.registers.sp == (15 if architecture == "s390x" else 0x77)
    assert user.state is not None
    assert user.state.mode is not Mode.KERNEL
    assert set(machine.values(user)) == set(machine.architecture.general)
    anchor = machine.anchor()
    assert anchor is not None
    if architecture == "s390x":
        assert (anchor.names, anchor.address) == (("pgm_check_handler",), stext + 0x40)
    else:
        assert (anchor.method, anchor.address) == (Method.VMCOREINFO, stext)


def test_what_a_kernel_before_has_left_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(aarch64(stale=True))
    assert CoreMachine(path).memory.read(STEXT["aarch64"], 4) == b"text"


def test_on_s390x_the_lowcore_tells_what_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "core"
    handler = STEXT["s390x"] + 0x40
    path.write_bytes(s390x(pc=handler))
    kernel, _ = CoreMachine(path).sampled()
    assert kernel.state is not None
    assert (kernel.state.pc, kernel.state.mode) == (STEXT["s390x"] + 0x88, Mode.KERNEL)
    assert kernel.registers is not None
    assert kernel.registers.pc == kernel.state.pc


@pytest.mark.parametrize("architecture", ["aarch64", "riscv64"])
def test_a_guest_whose_kernel_tells_nothing_is_told(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(MADE[architecture].replace(b"VMCOREINFO", b"vmcoreinfo"))
    with pytest.raises(FormatError, match="tells where its page tables are") as caught:
        CoreMachine(path)
    assert "CONFIG_VMCORE_INFO" in caught.value.remedy


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(sorted(MADE)),
    st.one_of(st.integers(0, 900), st.integers(0x1000, 0xA000)),
    st.binary(min_size=1, max_size=24),
    st.booleans(),
)
def test_any_bytes_are_a_dump_or_told(
    tmp_path: Path, architecture: str, at: int, noise: bytes, cut: bool
) -> None:
    data = bytearray(MADE[architecture])
    data[at : at + len(noise)] = noise
    path = tmp_path / "core"
    path.write_bytes(bytes(data[:at] if cut else data))
    look_at(path, (0, STEXT[architecture], (1 << 64) - 8))
