"""Instructions of real kernels of every architecture are where objdump has them."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from symbols.disassembly import disassemble
from symbols.elf import Image
from symbols.table import Symbol
from tests.guests.conftest import PATIENCE
from tests.guests.debian_kernel import KERNELS, KernelUnavailable, fetch_kernel
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, ElfFile, Sec, Sym

FUNCTIONS = 300
USUAL = "amd64-6.1"
#: By architecture: e_machine, and what Debian calls its binutils.
MACHINES = {
    "x86_64": (62, "x86-64"),
    "aarch64": (183, "aarch64"),
    "s390x": (22, "s390x"),
    "riscv64": (243, "riscv64"),
}


def kernels() -> list[ParameterSet]:
    """The kernel that other tests need too, and those that are a large download each."""
    large = pytest.mark.generations
    return [pytest.param(name, marks=() if name == USUAL else large) for name in sorted(KERNELS)]


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize("name", kernels())
def test_instructions_are_where_objdump_has_them(name: str, tmp_path: Path) -> None:
    try:
        image = Image.open(fetch_kernel(KERNELS[name]).vmlinux)
    except KernelUnavailable as reason:
        pytest.skip(str(reason))
    machine, package = MACHINES[image.architecture]
    objdump = f"{image.architecture}-linux-gnu-objdump"
    if shutil.which(objdump) is None:
        pytest.skip(f"{objdump} is not installed (apt-get install binutils-{package}-linux-gnu)")
    functions = some_functions(image)
    code = {one: image.read(one.start, one.end - one.start) for one in functions}
    # Each function in a section of its own, so that objdump reads no more than these.
    program = tmp_path / "functions"
    program.write_bytes(
        ElfFile(
            [
                Sec(f".{one.start:x}", code[one], one.start, flags=ALLOC | EXECUTE)
                for one in functions
            ],
            [
                Sym(one.name, one.start, one.end - one.start, section=i)
                for i, one in enumerate(functions, 1)
            ],
            machine=machine,
            little=image.little_endian,
        ).build()
    )
    printed = subprocess.run(
        [objdump, "-d", "-z", "-w", program], check=True, capture_output=True, text=True,
        timeout=300,
    ).stdout  # fmt: skip
    lines = re.findall(r"^\s*([0-9a-f]+):\t(.*)$", printed, re.MULTILINE)
    theirs = {int(at, 16) for at, _ in lines}
    # An instruction that one of them does not know may throw it off the track: objdump 2.40 takes
    # four bytes for any of s390x, capstone 5 has not heard of `lkgs`.
    doubtful = {int(at, 16) for at, text in lines if re.search(r"\.long|\(bad\)", text)}
    compared = unknown = 0
    for one in functions:
        span = range(one.start, one.end)
        found = disassemble(code[one], one.start, image.architecture)
        ours = {instruction.address for instruction in found}
        if ours != theirs.intersection(span) and (
            doubtful.intersection(span) or any(each.mnemonic == ".byte" for each in found)
        ):
            unknown += 1
            continue
        assert ours == theirs.intersection(span), one.name
        compared += len(ours)
    assert unknown <= FUNCTIONS // 50
    assert compared > 5000


def some_functions(image: Image) -> list[Symbol]:
    """Functions that do not overlap, by address; the same ones each time."""
    table = image.table
    low, high = image.text
    # Trampolines of static calls end in a mark, `ud1 %esp, %ecx`, of which capstone takes a byte
    # less; nobody runs it.
    rows = [
        row
        for row in range(len(table))
        if low <= table.start[row] < high
        and 0 < table.end[row] - table.start[row] < 20_000
        and not table.names[row].startswith("__SCT__")
    ]
    found: list[Symbol] = []
    for row in sorted(random.Random(1).sample(rows, 2 * FUNCTIONS)):
        symbol = table[row]
        if not found or symbol.start >= found[-1].end:
            found.append(symbol)
    return found[:FUNCTIONS]
