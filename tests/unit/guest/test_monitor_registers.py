"""What the monitor prints of registers: real texts, changed ones, and any text at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.architectures import BY_NAME, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.monitor_registers import READERS, blocks, readings, states

TEXTS = Path(__file__).resolve().parents[3] / "fixtures" / "monitor"


def text(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text("utf-8")


def read_states(text: str, architecture: str) -> dict[int, VcpuState | None]:
    return states(readings(text, architecture), architecture)


def test_every_architecture_has_a_reader_and_a_text() -> None:
    assert READERS.keys() == BY_NAME.keys()
    for name in READERS:
        assert len(blocks(text(name))) == 2


@pytest.mark.parametrize(
    ("name", "architecture", "expected"),
    [
        ("x86_64-reset", "x86_64", [(0xFFFF_FFF0, Mode.FIRMWARE)]),
        ("aarch64", "aarch64", [(0x200, Mode.KERNEL), (0, Mode.KERNEL)]),
        ("s390x", "s390x", [(0, Mode.FIRMWARE), (0, Mode.IDLE)]),
        ("riscv64", "riscv64", [(0, Mode.FIRMWARE), (0x80004874, Mode.FIRMWARE)]),
        ("ppc64", "ppc64", [(0x1DAF0CDC, Mode.FIRMWARE), (0x100, Mode.FIRMWARE)]),
    ],
)
def test_real_texts(name: str, architecture: str, expected: list[tuple[int, Mode]]) -> None:
    found = read_states(text(name), architecture)
    assert found == {i: VcpuState(*state) for i, state in enumerate(expected)}


def test_the_demo_guest() -> None:
    working, resting = read_states(text("x86_64"), "x86_64").values()
    assert working is not None
    assert resting is not None
    assert {working.mode, resting.mode} <= {Mode.KERNEL, Mode.IDLE}
    assert working.pc >> 24 == resting.pc >> 24 == 0xFFFF_FFFF_81


def test_seabios_is_firmware() -> None:
    (state,) = read_states(text("x86_64-firmware"), "x86_64").values()
    assert state is not None
    assert state.mode is Mode.FIRMWARE
    assert 0xC0000 <= state.pc < 0x100000


def test_a_segment_of_firmware_has_a_base() -> None:
    said = text("x86_64-firmware")
    said = re.sub(r"CR0=\w+", "CR0=00000011", re.sub(r"HLT=1", "HLT=0", said))
    said = re.sub(r"EIP=\w+", "EIP=0000cfaf", said)
    said = re.sub(r"CS =.*", "CS =0018 000f0000 0000ffff 00009b00", said)
    (state,) = read_states(said, "x86_64").values()
    assert state == VcpuState(0xFCFAF, Mode.FIRMWARE)


@pytest.mark.parametrize(
    ("architecture", "pattern", "replacement", "mode"),
    [
        ("x86_64", r"CPL=0", "CPL=3", Mode.USER),
        ("x86_64", r"CPL=0", "CPL=0", Mode.KERNEL),
        ("x86_64", r"HLT=0", "HLT=1", Mode.IDLE),
        ("x86_64", r"SMM=0", "SMM=1", Mode.FIRMWARE),
        ("x86_64", r"CR0=8", "CR0=0", Mode.FIRMWARE),
        ("aarch64", r"PSTATE=\w+", "PSTATE=80001000", Mode.USER),
        ("aarch64", r"PSTATE=\w+", "PSTATE=604000c9", Mode.KERNEL),  # EL2h
        ("aarch64", r"PSTATE=\w+", "PSTATE=000003cd", Mode.FIRMWARE),
        ("s390x", r"mask \w+", "mask 0404c00180000000", Mode.KERNEL),
        ("s390x", r"mask \w+", "mask 0705000180000000", Mode.USER),
        ("s390x", r"mask \w+", "mask 0706c00180000000", Mode.IDLE),
        ("riscv64", r" pc +\w+", " pc ffffffff80004874", Mode.KERNEL),
        ("riscv64", r"satp +\w+", "satp 9000000000081b12", Mode.USER),
        ("ppc64", r"MSR \w+", "MSR 8000000002803033", Mode.KERNEL),
        ("ppc64", r"MSR \w+", "MSR 800000000280f033", Mode.USER),
    ],
)  # fmt: skip
def test_modes(architecture: str, pattern: str, replacement: str, mode: Mode) -> None:
    # The text of one that runs, so that only the change decides.
    running = text(architecture).replace("HLT=1", "HLT=0")
    changed, count = re.subn(pattern, replacement, running)
    assert count
    state = read_states(changed, architecture)[0]
    assert state is not None
    assert state.mode is mode


def test_aarch32() -> None:
    block = "\nCPU#0\nR00=00000000\nR14=00000000 R15=c0008000\nPSR=600001d3 -ZC- A S svc32\n"
    assert read_states(block, "aarch64") == {0: VcpuState(0xC0008000, Mode.KERNEL)}


@pytest.mark.parametrize("architecture", READERS)
def test_a_text_without_registers_tells_nothing(architecture: str) -> None:
    assert read_states("\nCPU#0\nnothing\n\nCPU#1\n", architecture) == {0: None, 1: None}
    assert read_states("unknown command: 'info registers'\n", architecture) == {}


@given(
    said=st.text(max_size=300)
    | st.lists(
        st.sampled_from(
            ["\nCPU#0\n", "CPU#99999\n", "RIP=", "EIP=ffff", "CPL=3", "CR0=80000011", "CS =10 0",
             "PC=", "PSTATE=", "mask ", "addr ", " pc ", "satp ", "NIP ", "MSR ", "0" * 16,
             "f" * 17, "-", " ", "\n", "\x1b["]
        )
    ).map("".join),
    architecture=st.sampled_from(sorted(READERS)),
)  # fmt: skip
def test_any_text_gives_states_or_none(said: str, architecture: str) -> None:
    for index, state in read_states(said, architecture).items():
        assert 0 <= index < 10_000
        assert state is None or 0 <= state.pc < 1 << 64


@given(st.sampled_from(sorted(READERS)), st.data())
def test_a_text_that_was_cut_gives_the_same_or_none(architecture: str, data: st.DataObject) -> None:
    whole = text(architecture)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    states = read_states(whole, architecture)
    for index, state in read_states(cut, architecture).items():
        # Where it ends within a number or before what comes later, less may be known.
        assert index in states
        assert state is None or isinstance(state.mode, Mode)
