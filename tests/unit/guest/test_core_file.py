"""Dumps of a guest's memory: what is read of a good one, and that a bad one is told."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gprof.errors import FormatError, UsageError
from gprof.guest.core_file import CoreFile
from gprof.guest.core_machine import CoreMachine
from gprof.guest.mode import Mode
from symbols.memory import MemoryFault
from tests.unit.guest.core_writing import core, look_at, note

ROOT = 0x1000
TEXT = 0xFFFF_FFFF_8100_0000
HANDLER = 0xFFFF_FFFF_8100_0990
#: Physical, below the first segment's end.
TABLE = 0x6000


def state(index: int, *, user: bool = False) -> bytes:
    """QEMUCPUState of x86-64, of QEMU 7.2."""
    general = [0x100 * index + n for n in range(18)]
    general[16] = 0x40_0000 if user else TEXT + 0x123
    segments = [(0x33 if user else 0x10, 0)] + [(0, 0)] * 9
    segments[9] = (0, TEXT + 0x1000)  # the interrupt table
    words = struct.pack("<18Q", *general)
    words += b"".join(struct.pack("<IIIIQ", selector, 0, 0, 0, base) for selector, base in segments)
    words += struct.pack("<5Q", 0x8005_0033, 0, 0, ROOT, 0x20)
    words += struct.pack("<Q", 0xFFFF_8880_0000_0000 + index)
    return struct.pack("<II", 1, 8 + len(words)) + words


def ram() -> bytes:
    """Four levels of tables that map two pages of text at `TEXT`."""
    data = bytearray(0x8000)
    for table, level in ((ROOT, 3), (0x2000, 2), (0x3000, 1), (0x4000, 0)):
        index = TEXT >> (12 + 9 * level) & 0x1FF
        target = TABLE - 0x1000 if not level else table + 0x1000
        struct.pack_into("<Q", data, table + 8 * index, target | 3)
        if not level:
            struct.pack_into("<Q", data, table + 8 * (index + 1), TABLE | 3)
    data[0x5000:0x5004] = b"text"
    gate = struct.pack("<HHHHII", HANDLER & 0xFFFF, 0x10, 0x8E00, HANDLER >> 16 & 0xFFFF,
                       HANDLER >> 32, 0)  # fmt: skip
    data[TABLE : TABLE + 16] = gate
    return bytes(data)


def good() -> bytes:
    notes = note(b"CORE", bytes(336)) + note(b"QEMU", state(0)) + note(b"QEMU", state(1, user=True))
    return core(notes, [(0, ram()), (0x10_0000, b"far away")])


def test_vcpus_and_memory_of_a_dump(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(good())
    machine = CoreMachine(path)
    assert machine.architecture.name == "x86_64"
    assert machine.memory.read(TEXT, 4) == b"text"
    with pytest.raises(MemoryFault):
        machine.memory.read(TEXT + 0x1FFF, 2)
    anchor = machine.anchor()
    assert anchor is not None
    assert anchor.address == HANDLER
    kernel, user = machine.sampled()
    assert kernel.state is not None
    assert (kernel.state.pc, kernel.state.mode) == (TEXT + 0x123, Mode.KERNEL)
    assert kernel.registers is not None
    assert (kernel.registers.sp, kernel.registers.fp) == (6, 7)
    assert user.state is not None
    assert (user.state.mode, user.registers) == (Mode.USER, None)
    assert machine.values(user)["rip"] == 0x40_0000
    assert machine.all_values(user)["k_gs_base"] == 0xFFFF_8880_0000_0001
    assert CoreFile(path).read(0x10_0000, 8) == b"far away"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no ELF file"),
        (b"KDUMP   " + bytes(100), "compressed dump"),
        (core(b"", [], kind=2), "no dump of a machine"),
        (core(b"", [], machine=20), "whose dumps are not understood"),
        (core(note(b"CORE", bytes(336)), [(0, b"x")]), "no registers of QEMU"),
    ],
)
def test_what_is_no_dump_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "core"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=said) as caught:
        CoreMachine(path)
    assert caught.value.remedy


def test_a_guest_that_had_not_begun_is_told(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(core(note(b"QEMU", bytes(8 + 16 * 8)), [(0, b"x")]))
    with pytest.raises(FormatError, match="had not begun to boot"):
        CoreMachine(path)
    with pytest.raises(UsageError, match="does not exist"):
        CoreFile(tmp_path / "none")


def test_ram_ends_with_the_file_whatever_a_header_claims(tmp_path: Path) -> None:
    path = tmp_path / "core"
    whole = bytearray(core(note(b"QEMU", bytes(8 + 16 * 8)), [(0, b"x" * 4096), (1 << 32, b"y")]))
    header = 64 + 56  # of the first part of RAM, behind the file's own and that of the notes
    at = header + 32  # p_filesz
    assert struct.unpack_from("<Q", whole, at) == (4096,)
    struct.pack_into("<Q", whole, at, (1 << 64) - 4096)
    path.write_bytes(bytes(whole))
    (start, end), _ = CoreFile(path).ranges
    assert 4096 <= end - start <= len(whole)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 900), st.binary(min_size=1, max_size=24), st.booleans())
def test_any_bytes_are_a_dump_or_told(tmp_path: Path, at: int, noise: bytes, cut: bool) -> None:
    data = bytearray(good())
    data[at : at + len(noise)] = noise
    path = tmp_path / "core"
    path.write_bytes(bytes(data[:at] if cut else data))
    look_at(path, (0, TEXT, TEXT + 0xFF8, (1 << 64) - 8))
