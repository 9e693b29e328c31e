"""Which way of unwinding a guest gets, and what it is told where there is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gprof.guest.demo import demo_file
from symbols.elf import Image
from symbols.errors import UnwindError
from symbols.kernel_space import kernel_space
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from symbols.unwinding.unwind import Way, choose
from tests.unit.symbols.elf_files import CODE, STEP, TEXT, ElfFile, Sec, Sym

ARM_KERNEL = LoadedImage(
    "[kernel]",
    ImageKind.KERNEL,
    0xFFFF_8000_0800_0000,
    0xFFFF_8000_0900_0000,
    SymbolTable.of([Symbol("schedule", 0xFFFF_8000_0800_0000, 0xFFFF_8000_0800_0100)]),
)


@pytest.fixture(scope="module")
def demo() -> Image:
    return Image.open(demo_file("demo.elf"))


def test_code_that_keeps_frame_pointers_is_recognised(demo: Image) -> None:
    chosen = choose(Way.AUTO, "x86_64", kernel_space(image=demo), image=demo)
    assert chosen.way == "fp"
    assert "frame pointer" in chosen.why


@pytest.mark.parametrize(("sets_frame", "kept"), [(0x1000, True), (0x842A, False)])
def test_a_kernel_of_riscv64_may_keep_none(tmp_path: Path, sets_frame: int, kept: bool) -> None:
    # addi sp,sp,-32; sd ra,24(sp); sd s0,16(sp); then addi s0,sp,32 or mv s0,a0
    head = struct.pack("<4H", 0x1101, 0xEC06, 0xE822, sets_frame) + b"\1\0" * 28
    text = Sec(".text", head * 20, address=TEXT, flags=CODE)
    functions = [Sym(f"function_{n}", TEXT + n * STEP, STEP) for n in range(20)]
    image = ElfFile([text], functions, machine=243).write(tmp_path / "vmlinux")
    chosen = choose(Way.AUTO, "riscv64", kernel_space(image=image), image=image)
    assert (chosen.unwinder is not None) is kept
    assert kept or chosen.why == "0 of 20 functions of the kernel keep a frame pointer"
    assert choose(Way.FP, "riscv64", kernel_space(image=image), image=image).unwinder is not None


def test_nothing_is_taken_where_nothing_was_asked_for(demo: Image) -> None:
    chosen = choose(Way.NONE, "x86_64", kernel_space(image=demo), image=demo)
    assert (chosen.unwinder, chosen.way) == (None, "none")


def test_without_a_vmlinux_auto_takes_none_and_says_why() -> None:
    chosen = choose(Way.AUTO, "x86_64", AddressSpace([ARM_KERNEL]), image=None)
    assert chosen.unwinder is None
    assert "vmlinux" in chosen.why
    assert choose(Way.AUTO, "x86_64", AddressSpace(), image=None).unwinder is None


def test_what_was_asked_for_is_refused_where_it_does_not_work(demo: Image) -> None:
    with pytest.raises(UnwindError, match="no ORC tables"):
        choose(Way.ORC, "x86_64", kernel_space(image=demo), image=demo)
    with pytest.raises(UnwindError, match="tables are in the kernel's file"):
        choose(Way.ORC, "x86_64", AddressSpace(), image=None)
    with pytest.raises(UnwindError, match="aarch64"):
        choose(Way.ORC, "aarch64", AddressSpace([ARM_KERNEL]), image=None)
    with pytest.raises(UnwindError, match="nothing is known"):
        choose(Way.FP, "x86_64", AddressSpace(), image=None)


@pytest.mark.parametrize(
    ("architecture", "way"),
    [("aarch64", "fp"), ("riscv64", "fp"), ("s390x", "backchain"), ("ppc64", "backchain")],
)
def test_other_architectures_have_one_way(architecture: str, way: str) -> None:
    chosen = choose(Way.AUTO, architecture, AddressSpace([ARM_KERNEL]), image=None)
    assert chosen.way == way
    assert chosen.unwinder is not None


def test_an_architecture_without_a_way_is_named() -> None:
    chosen = choose(Way.AUTO, "mips", AddressSpace([ARM_KERNEL]), image=None)
    assert chosen.unwinder is None
    assert "mips" in chosen.why


def test_a_file_that_vanishes_does_not_matter(tmp_path: Path) -> None:
    copy = tmp_path / "demo.elf"
    copy.write_bytes(demo_file("demo.elf").read_bytes())
    image = Image.open(copy)
    space = kernel_space(image=image)
    copy.write_bytes(b"")
    assert choose(Way.AUTO, "x86_64", space, image=image).unwinder is None
