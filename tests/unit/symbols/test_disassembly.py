from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.disassembly import Instruction, disassemble
from symbols.elf import Image
from symbols.errors import SymbolsError

BASE = 0xFFFF_FFFF_8100_0000
ARCHITECTURES = ["x86_64", "i386", "aarch64", "s390x", "riscv64", "riscv32", "ppc64"]


@pytest.mark.parametrize(
    ("architecture", "code", "mnemonic", "target"),
    [
        ("x86_64", "e810000000", "callq", BASE + 0x15),
        ("x86_64", "74fe", "je", BASE),
        ("x86_64", "ebf0", "jmp", BASE - 14),
        ("x86_64", "e3fe", "jrcxz", BASE),
        ("x86_64", "e2fe", "loop", BASE),
        ("x86_64", "ffe0", "jmpq", None),
        ("x86_64", "ff1500000000", "callq", None),
        ("x86_64", "6a10", "pushq", None),
        ("i386", "e8fbffffff", "calll", BASE % (1 << 32)),
        ("aarch64", "04000094", "bl", BASE + 16),
        ("aarch64", "40000054", "b.eq", BASE + 8),
        ("aarch64", "e0031f36", "tbz", BASE - 0x1F84),
        ("aarch64", "00001fd6", "br", None),
        ("aarch64", "c0035fd6", "ret", None),
        ("s390x", "c0e500000010", "brasl", BASE + 32),
        ("s390x", "c0f400000010", "jg", BASE + 32),
        ("s390x", "a7740004", "jne", BASE + 8),
        ("s390x", "a7160004", "brct", BASE + 8),
        ("s390x", "c01000000010", "larl", None),
        ("s390x", "07fe", "br", None),
        ("riscv64", "ef00c000", "jal", BASE + 12),
        ("riscv64", "6304b500", "beq", BASE + 8),
        ("riscv64", "01a0", "c.j", BASE),
        ("riscv64", "8280", "c.jr", None),
        ("ppc64", "11000048", "bl", BASE + 16),
        ("ppc64", "08008241", "beq", BASE + 8),
        ("ppc64", "2000804e", "blr", None),
    ],
)
def test_targets(architecture: str, code: str, mnemonic: str, target: int | None) -> None:
    (found,) = disassemble(bytes.fromhex(code), BASE, architecture)
    assert found.mnemonic == mnemonic
    assert found.target == target
    assert found.code == bytes.fromhex(code)


def test_syntaxes_of_x86() -> None:
    code = bytes.fromhex("488b4308")
    assert disassemble(code, BASE, "x86_64")[0].operands == "8(%rbx), %rax"
    assert disassemble(code, BASE, "x86_64", syntax="intel")[0].operands.startswith("rax, qword")


def test_byte_order() -> None:
    big = disassemble(bytes.fromhex("4e800020"), BASE, "ppc64", little_endian=False)
    assert [i.mnemonic for i in big] == ["blr"]


def test_bytes_that_are_no_instruction() -> None:
    found = disassemble(bytes.fromhex("0690"), BASE, "x86_64")
    assert [(i.size, i.mnemonic, i.operands) for i in found] == [
        (1, ".byte", "0x06"),
        (1, "nop", ""),
    ]
    found = disassemble(bytes.fromhex("ffffffff c0035fd6 c003"), BASE, "aarch64")
    assert found[0] == Instruction(BASE, 4, b"\xff\xff\xff\xff", ".byte", "0xff, 0xff, 0xff, 0xff")
    assert found[1].mnemonic == "ret"
    assert (found[2].mnemonic, found[2].code) == (".byte", b"\xc0\x03")


def test_instructions_that_capstone_lacks_are_objdumps(tmp_path: Path) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("objdump is not installed (apt-get install binutils)")
    kernels = ("0f01e8 0f01c6 0f01fd 0f01fe 0f01ff 660f01cc f20f01e8 f20f01e9 f20f01fe f20f01ff "
               "f30f01fe f30f01ff 90 0f01e8 c3")  # fmt: skip
    code = bytes.fromhex(kernels)
    path = tmp_path / "code"
    path.write_bytes(code)
    printed = subprocess.run(
        ["objdump", "-D", "-w", "-b", "binary", "-mi386:x86-64", path],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    theirs = re.findall(r"^\s*([0-9a-f]+):\t.*\t(\w+) *$", printed, re.MULTILINE)
    found = disassemble(code, 0, "x86_64")
    ours = [(f"{one.address:x}", one.mnemonic.removesuffix("q")) for one in found]
    assert ours == theirs
    assert len(ours) == 15
    assert disassemble(code[:2], 0, "x86_64")[-1].mnemonic == ".byte"


def test_capstone_is_imported_only_when_needed() -> None:
    code = (
        "import sys; import symbols.disassembly as d; assert 'capstone' not in sys.modules;"
        "d.disassemble(bytes(1), 0, 'x86_64'); assert 'capstone' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_nothing() -> None:
    assert disassemble(b"", BASE, "x86_64") == []


def test_an_unknown_architecture() -> None:
    with pytest.raises(SymbolsError, match="m68k") as caught:
        disassemble(b"\0\0", 0, "m68k")
    assert "aarch64" in caught.value.remedy


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=120),
    st.integers(0, (1 << 64) - 256),
    st.sampled_from(ARCHITECTURES),
)
def test_every_byte_is_in_one_instruction(code: bytes, address: int, architecture: str) -> None:
    if architecture in {"i386", "riscv32"}:
        address &= 0xFFFF_0000
    found = disassemble(code, address, architecture)
    assert b"".join(instruction.code for instruction in found) == code
    at = address
    for instruction in found:
        assert instruction.address == at
        assert instruction.size == len(instruction.code) > 0
        assert instruction.target is None or 0 <= instruction.target < 1 << 64
        at += instruction.size


def test_same_instructions_and_targets_as_objdump(tmp_path: Path) -> None:
    for tool in ("gcc", "objdump"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    source = tmp_path / "program.c"
    source.write_text(
        "int f(int); int g(int n) { int s = 0; for (int i = 0; i < n; i++) s += f(i) * i;"
        " switch (n) { case 1: return f(2); case 2: return s; default: return s - f(n); } }"
        " int f(int x) { return x > 3 ? g(x - 1) : x; } int main(void) { return g(4); }"
    )
    program = tmp_path / "program"
    subprocess.run(["gcc", "-O2", "-o", program, source], check=True, timeout=60)
    image = Image.open(program)
    text = image.section(".text")
    assert text is not None
    printed = subprocess.run(
        ["objdump", "-d", "-j", ".text", program],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    expected = {}
    for line in printed.splitlines():
        found = re.match(r"\s+([0-9a-f]+):\t((?:[0-9a-f]{2} )+)\s*(.*)", line)
        if found and found[3]:
            jump = re.match(r"(?:call|j\w+|bnd \w+)\s+([0-9a-f]+) <", found[3])
            expected[int(found[1], 16)] = int(jump[1], 16) if jump else None
    code = image.read(text.address, text.size)
    ours = disassemble(code, text.address, image.architecture)
    if image.architecture != "x86_64":
        pytest.skip("the patterns above are of x86-64's objdump")
    assert {i.address for i in ours} == set(expected)
    assert {i.address: i.target for i in ours} == expected
    assert sum(target is not None for target in expected.values()) > 8
