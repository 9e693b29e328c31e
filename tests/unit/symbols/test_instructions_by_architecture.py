"""A few functions in every architecture's assembly: instructions and targets are objdump's."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from symbols.disassembly import disassemble


@dataclass(frozen=True)
class Fixture:
    """One architecture.

    Attributes:
        name: as `disassemble` takes it.
        tools: the first part of the names of its binutils.
        package: of Debian, that has them.
        source: what is assembled.
        assembler: options of `as`.
        objdump: options of `objdump`.
        jumps: the mnemonics whose last operand objdump resolves.
    """

    name: str
    tools: str
    package: str
    source: str
    assembler: tuple[str, ...] = ()
    objdump: tuple[str, ...] = ()
    jumps: str = r"(?:j|call|b)\S*"


X86 = """
f:  push %{r}bp
    mov %{r}sp, %{r}bp
    xor %eax, %eax
1:  inc %eax
    cmp $10, %eax
    jb 1b
    je 2f
    call g
    test $0x12345678, %eax
    jmp 1b
2:  pop %{r}bp
    ret
g:  rep stosb
    lock incl (%{r}bx)
    nopw 0x0(%{r}ax,%{r}ax,1)
    ud2
    jmp f
"""

_OF_X86 = ("x86_64-linux-gnu-", "binutils-x86-64-linux-gnu")
FIXTURES = [
    Fixture("x86_64", *_OF_X86, X86.format(r="r"), ("--64",)),
    Fixture("i386", *_OF_X86, X86.format(r="e"), ("--32",)),
    Fixture(
        "i8086", *_OF_X86,
        ".code16\nf: mov $0x1234, %ax\n mov %ax, %ds\n1: lodsb\n or %al, %al\n jz 2f\n int $0x10\n"
        " call g\n jmp 1b\n2: hlt\n ret\ng: ljmp $0xf000, $0xfff0\n movl $0x12345678, %eax\n"
        " iret\n",
        ("--32",), ("-m", "i8086"),
    ),
    Fixture(
        "aarch64", "aarch64-linux-gnu-", "binutils-aarch64-linux-gnu",
        "f: stp x29, x30, [sp, #-16]!\n mov x29, sp\n1: add x0, x0, #1\n cmp x0, #10\n b.lt 1b\n"
        " cbz x0, 2f\n tbnz w0, #3, 1b\n bl g\n ldp x29, x30, [sp], #16\n2: ret\n"
        "g: mrs x1, sp_el0\n ldxr w2, [x1]\n stlxr w3, w2, [x1]\n dmb ish\n isb\n b f\n br x1\n",
        jumps=r"(?:b|bl|b\.\w+|cbn?z|tbn?z)",
    ),
    Fixture(
        "s390x", "s390x-linux-gnu-", "binutils-s390x-linux-gnu",
        "f: stmg %r6,%r15,48(%r15)\n lghi %r1,10\n1: aghi %r2,1\n cgr %r2,%r1\n jl 1b\n je 2f\n"
        " brasl %r14,g\n brct %r1,1b\n larl %r3,g\n2: lmg %r6,%r15,48(%r15)\n br %r14\n"
        "g: lg %r1,0x340\n stosm 4(%r15),3\n lr %r1,%r2\n cgrjne %r1,%r2,f\n jg f\n"
        " basr %r14,%r1\n",
        jumps=r"(?:j\w*|br\w+)",
    ),
    Fixture(
        "riscv64", "riscv64-linux-gnu-", "binutils-riscv64-linux-gnu",
        "f: addi sp,sp,-16\n sd ra,8(sp)\n1: addi a0,a0,1\n li a1,10\n blt a0,a1,1b\n beqz a0,2f\n"
        " jal ra,g\n csrr a2,sstatus\n amoadd.w a3,a2,(a0)\n fence\n2: ld ra,8(sp)\n"
        " addi sp,sp,16\n ret\ng: j f\n ecall\n sret\n jr a0\n",
        ("-march=rv64imac", "-mno-relax"), jumps=r"(?:j|jal|b\w+)",
    ),
    Fixture(
        "ppc64", "powerpc64-linux-gnu-", "binutils-powerpc64-linux-gnu",
        "f: mflr 0\n std 0,16(1)\n stdu 1,-32(1)\n1: addi 3,3,1\n cmpdi 3,10\n blt 1b\n beq 2f\n"
        " bl g\n bdnz 1b\n2: addi 1,1,32\n ld 0,16(1)\n mtlr 0\n blr\ng: lwarx 4,0,3\n"
        " stwcx. 4,0,3\n sync\n isync\n bctr\n b f\n",
        ("-a64", "-mlittle"), jumps=r"b(?!lr|ctr)\S*",
    ),
]  # fmt: skip


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.name)
def test_instructions_and_targets_are_objdumps(fixture: Fixture, tmp_path: Path) -> None:
    tools = {tool: f"{fixture.tools}{tool}" for tool in ("as", "objdump", "objcopy")}
    if not all(map(shutil.which, tools.values())):
        pytest.skip(f"{tools['as']} is not installed (apt-get install {fixture.package})")
    program, text = tmp_path / "program.o", tmp_path / "text"
    subprocess.run(
        [tools["as"], *fixture.assembler, "-o", program, "-"],
        input=fixture.source, text=True, check=True, timeout=60,
    )  # fmt: skip
    subprocess.run(
        [tools["objcopy"], "-O", "binary", "-j", ".text", program, text], check=True, timeout=60
    )
    printed = subprocess.run(
        [tools["objdump"], "-d", "-z", "-w", *fixture.objdump, program],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    expected: dict[int, int | None] = {}
    for line in printed.splitlines():
        found = re.match(r"\s+([0-9a-f]+):\t(?:[0-9a-f]{2,8} ?)+\s*(.*)", line)
        if found is None:
            continue
        jump = re.match(fixture.jumps + r"\s+(?:\S+,\s*)*([0-9a-f]+) <", found[2])
        expected[int(found[1], 16)] = int(jump[1], 16) if jump else None
    ours = disassemble(text.read_bytes(), 0, fixture.name)
    assert {one.address for one in ours} == set(expected)
    assert sum(target is not None for target in expected.values()) >= 3
    for one in ours:
        target = expected[one.address]
        assert target is None or one.target == target, one
    assert all(one.mnemonic != ".byte" for one in ours)
