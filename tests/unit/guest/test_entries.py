"""Samples on the first instruction of a handler, given to what was interrupted."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.architectures import VcpuState
from gprof.guest.entries import Entries
from gprof.guest.mode import Mode
from gprof.guest.registers import Register, RegisterFile

VECTORS = 0xFFFF_8000_0801_0800
PLACE = 0xFFFF_8000_0812_3456
USER_PLACE = 0x40_1000
KERNEL_WORD, USER_WORD, WAITING_WORD = (
    0x0404_C001_8000_0000, 0x0705_2001_8000_0000, 0x0706_0001_8000_0000,
)  # fmt: skip
HANDLER = 0xA3_31E0


def file_of(*names: str, order: str = "little") -> RegisterFile:
    return RegisterFile("", {n: Register(n, i, 64, 8 * i) for i, n in enumerate(names)}, order)


def digits(*values: int) -> list[bytes]:
    return [value.to_bytes(8, "little").hex().encode() for value in values]


def kernel(pc: int) -> VcpuState:
    return VcpuState(pc, Mode.KERNEL)


@pytest.mark.parametrize("base", ["VBAR", "VBAR_EL1"])
@pytest.mark.parametrize(
    ("pc", "status", "expected"),
    [
        (VECTORS + 0x280, 0x6040_0005, kernel(PLACE)),
        (VECTORS + 0x480, 0x6000_0000, VcpuState(PLACE, Mode.USER)),
        (VECTORS + 0x284, 0x6040_0005, kernel(VECTORS + 0x284)),  # it has begun
        (VECTORS + 0x800, 0x6040_0005, kernel(VECTORS + 0x800)),
        (VECTORS - 0x80, 0x6040_0005, kernel(VECTORS - 0x80)),
    ],
)
def test_aarch64(base: str, pc: int, status: int, expected: VcpuState) -> None:
    registers = file_of(base, "ELR_EL1", "SPSR_EL1")
    entries = Entries("aarch64")
    assert entries.questions(registers) == [b"p0", b"p1", b"p2"]
    assert entries.state(kernel(pc), registers, digits(VECTORS, PLACE, status)) == expected


@pytest.mark.parametrize(
    ("pc", "status", "privilege", "expected"),
    [
        (VECTORS, 0x100, 1, kernel(PLACE)),
        (VECTORS, 0x0, 1, VcpuState(PLACE, Mode.USER)),
        (PLACE, 0x0, 1, kernel(PLACE)),
        (USER_PLACE, 0x0, 0, VcpuState(USER_PLACE, Mode.USER)),
        (USER_PLACE, 0x0, 3, VcpuState(USER_PLACE, Mode.FIRMWARE)),
    ],
)
def test_riscv64(pc: int, status: int, privilege: int, expected: VcpuState) -> None:
    registers = file_of("stvec", "sepc", "sstatus", "priv")
    answers = digits(VECTORS | 1, PLACE, status, privilege)
    seen = VcpuState(pc, Mode.UNKNOWN)
    assert Entries("riscv64").state(seen, registers, answers) == expected


def lowcore(**words: tuple[int, int]) -> bytes:
    data = bytearray(0x408)
    for name, word in words.items():
        struct.pack_into(">QQ", data, int(name.removeprefix("at_"), 16), *word)
    data[0x400:0x404] = bytes.fromhex("b2b20290")
    return bytes(data[0x130:]).hex().encode()


@pytest.mark.parametrize(
    ("pc", "memory", "expected"),
    [
        (HANDLER, lowcore(at_130=(KERNEL_WORD, PLACE), at_1b0=(KERNEL_WORD, HANDLER)),
         kernel(PLACE)),
        (HANDLER, lowcore(at_170=(WAITING_WORD, PLACE), at_1f0=(KERNEL_WORD, HANDLER)),
         VcpuState(PLACE, Mode.IDLE)),
        (HANDLER, lowcore(at_1b0=(KERNEL_WORD, HANDLER + 4)), kernel(HANDLER)),
        (0x400, lowcore(at_290=(USER_WORD, USER_PLACE)), VcpuState(USER_PLACE, Mode.USER)),
        (0x404, lowcore(at_290=(USER_WORD, USER_PLACE)), kernel(0x404)),  # no instruction there
        (HANDLER, b"E14", kernel(HANDLER)),
    ],
)  # fmt: skip
def test_s390x(pc: int, memory: bytes, expected: VcpuState) -> None:
    entries = Entries("s390x")
    assert entries.questions(file_of("r0")) == [b"m130,2d8"]
    assert entries.state(kernel(pc), file_of("r0"), [memory]) == expected


def test_a_vcpu_that_waits_is_not_asked_about() -> None:
    registers = file_of("stvec", "sepc", "sstatus", "priv")
    idle = VcpuState(VECTORS, Mode.IDLE)
    answers = digits(VECTORS, PLACE, 0, 1)
    assert Entries("riscv64").state(idle, registers, answers) == idle


def test_nothing_is_asked_of_others() -> None:
    registers = file_of("rip")
    for architecture in ("x86_64", "ppc64", ""):
        entries = Entries(architecture)
        assert entries.questions(registers) == []
        assert entries.count(registers) == 0
        assert entries.state(kernel(PLACE), registers, []) == kernel(PLACE)


@given(
    st.sampled_from(["aarch64", "riscv64", "s390x"]),
    st.integers(0, 2**64 - 1),
    st.lists(st.binary(max_size=1500), min_size=1, max_size=5),
)
def test_whatever_is_answered_there_is_a_state(
    architecture: str, pc: int, answers: list[bytes]
) -> None:
    registers = file_of("VBAR", "ELR_EL1", "SPSR_EL1", "stvec", "sepc")
    found = Entries(architecture).state(kernel(pc), registers, answers)
    assert 0 <= found.pc < 2**64
