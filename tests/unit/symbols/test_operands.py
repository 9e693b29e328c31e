"""Addresses in operands by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.disassembly import Flow, Syntax, disassemble
from symbols.operands import named_operands

BASE = 0xFFFF_FFFF_8100_0000


def named(address: int) -> str | None:
    if address == 0x1FB80:
        return f"<cpu {address:#x}>"
    return f"<{address - BASE:#x}>" if BASE <= address < BASE + 0x200_0000 else None


@pytest.mark.parametrize(
    ("architecture", "syntax", "code", "text"),
    [
        ("x86_64", "att", "e810000000", "<0x15>"),
        ("x86_64", "intel", "74fe", "<0x0>"),
        ("x86_64", "att", "488b0510000000", "<0x17>, %rax"),
        ("x86_64", "att", "488b05f0ffffff", "-0x10(%rip), %rax"),
        ("x86_64", "intel", "488b0510000000", "rax, qword ptr [<0x17>]"),
        ("x86_64", "att", "ff1500000000", "*<0x6>"),
        ("x86_64", "att", "48c7c000000082", "$<0x1000000>, %rax"),
        ("x86_64", "att", "488b04c500000082", "<0x1000000>(, %rax, 8), %rax"),
        ("x86_64", "intel", "488b04c500000082", "rax, qword ptr [rax*8 + <0x1000000>]"),
        ("x86_64", "att", "48c74350daffffff", "$-0x26, 0x50(%rbx)"),
        ("x86_64", "att", "65488b042580fb0100", "%gs:<cpu 0x1fb80>, %rax"),
        ("x86_64", "intel", "65488b042580fb0100", "rax, qword ptr gs:[<cpu 0x1fb80>]"),
        ("x86_64", "att", "65488b042528000000", "%gs:0x28, %rax"),
        ("x86_64", "att", "b900100000", "$0x1000, %ecx"),
        ("aarch64", "att", "04000094", "<0x10>"),
        ("aarch64", "att", "e0031f37", "w0, #3, #0xffffffff80ffe07c"),
        ("aarch64", "att", "20000090", "x0, <0x4000>"),
        ("s390x", "att", "c0e500000010", "%r14, <0x20>"),
        ("s390x", "att", "c01000000010", "%r1, <0x20>"),
        ("riscv64", "att", "ef00c000", "<0xc>"),
        ("riscv64", "att", "6304b500", "a0, a1, <0x8>"),
        ("ppc64", "att", "11000048", "<0x10>"),
    ],
)
def test_names(architecture: str, syntax: Syntax, code: str, text: str) -> None:
    (found,) = disassemble(bytes.fromhex(code), BASE, architecture, syntax=syntax)
    assert named_operands(found, named) == text


def test_a_name_is_text_and_nothing_else() -> None:
    (found,) = disassemble(bytes.fromhex("e810000000"), BASE, "x86_64")
    assert named_operands(found, lambda _: r"\1\g<0>") == r"\1\g<0>"


@given(
    code=st.binary(min_size=1, max_size=32),
    architecture=st.sampled_from(
        ["x86_64", "i386", "i8086", "aarch64", "s390x", "riscv64", "riscv32", "ppc64"]
    ),
)
def test_without_names_nothing_but_decimals_changes(code: bytes, architecture: str) -> None:
    for one in disassemble(code, BASE, architecture):
        text = named_operands(one, lambda _: None)
        assert text == one.operands or "-0x" in text


@pytest.mark.parametrize(
    ("architecture", "code", "flow"),
    [
        ("x86_64", "e810000000", Flow.CALL),
        ("x86_64", "ffe0", Flow.JUMP),
        ("x86_64", "0f05", Flow.CALL),
        ("x86_64", "c3", Flow.RETURN),
        ("x86_64", "48cf", Flow.RETURN),
        ("x86_64", "90", Flow.NEXT),
        ("i8086", "e81000", Flow.CALL),
        ("i8086", "7402", Flow.JUMP),
        ("aarch64", "04000094", Flow.CALL),
        ("aarch64", "c0035fd6", Flow.RETURN),
        ("aarch64", "00001fd6", Flow.JUMP),
        ("s390x", "c0e500000010", Flow.CALL),
        ("s390x", "0de1", Flow.CALL),
        ("s390x", "07fe", Flow.RETURN),
        ("s390x", "a7160004", Flow.JUMP),
        ("riscv64", "ef00c000", Flow.CALL),
        ("riscv64", "6f00c000", Flow.JUMP),
        ("riscv64", "67800000", Flow.RETURN),
        ("riscv64", "8280", Flow.RETURN),
        ("riscv64", "8290", Flow.CALL),
        ("ppc64", "11000048", Flow.CALL),
        ("ppc64", "2104804e", Flow.CALL),
        ("ppc64", "2000804e", Flow.RETURN),
        ("ppc64", "2004804e", Flow.JUMP),
        ("ppc64", "08008241", Flow.JUMP),
    ],
)
def test_flow(architecture: str, code: str, flow: Flow) -> None:
    assert disassemble(bytes.fromhex(code), BASE, architecture)[0].flow is flow


def test_16_bit_code() -> None:
    found = disassemble(bytes.fromhex("b83412 8ed8 e8fdff"), 0x7C00, "i8086")
    assert [one.mnemonic for one in found] == ["movw", "movw", "callw"]
    assert found[2].target == 0x7C05
