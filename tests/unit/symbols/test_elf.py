"""What is read out of an ELF file: functions and their ends, notes, banner, bytes, text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from symbols.elf import Image
from symbols.memory import MemoryFault
from symbols.table import Symbol
from tests.unit.symbols.elf_files import (
    AARCH64,
    BANNER,
    CODE,
    FILE,
    FUNCTIONS,
    GLOBAL,
    I386,
    LOCAL,
    NOTE,
    NOTES,
    NOTYPE,
    OBJECT,
    REL,
    RODATA,
    S390,
    SECTION,
    STEP,
    TEXT,
    X86_64,
    ElfFile,
    Sec,
    Sym,
    kernel,
    note,
    symbols_of,
)  # fmt: skip


@pytest.fixture
def vmlinux(tmp_path: Path) -> Image:
    return kernel().write(tmp_path / "vmlinux")


def test_facts_of_a_kernel(vmlinux: Image) -> None:
    assert vmlinux.architecture == "x86_64"
    assert vmlinux.bits == 64
    assert vmlinux.little_endian
    assert vmlinux.linux_release == "6.1.0-9-test"
    assert vmlinux.banner == BANNER
    assert vmlinux.build_id == b"\xab" * 20, "not the note of Xen, which has the same type"
    assert vmlinux.notes is not None
    assert vmlinux.notes[0] == NOTES
    assert vmlinux.text == (TEXT, TEXT + STEP * FUNCTIONS)
    assert vmlinux.address_of("cpu_number") == 0x1000
    assert vmlinux.address_of("linux_banner") == RODATA + 0x100
    assert vmlinux.address_of("absent") is None


def test_functions_of_a_kernel(vmlinux: Image) -> None:
    names = {symbol.name: symbol for symbol in symbols_of(vmlinux)}
    assert names["function_0"] == Symbol("function_0", TEXT, TEXT + STEP)
    assert names["asm_exc_divide_error"].end - names["asm_exc_divide_error"].start == 8
    assert not {"_text", "_stext", "_etext", "linux_banner", "cpu_number"} & set(names)
    assert len(names) == FUNCTIONS + 1


def test_reads_the_files_own_bytes(vmlinux: Image) -> None:
    assert vmlinux.read(TEXT + 3, 4) == bytes([3, 4, 5, 6])
    assert vmlinux.read(RODATA + 0x100, len(BANNER)) == BANNER
    assert vmlinux.read(TEXT, 0) == b""
    end = TEXT + STEP * FUNCTIONS
    for address, size in [
        (end - 1, 2), (end, 1), (TEXT - 1, 2), (NOTES + 0x10_0000, 1), (TEXT, -1),
        (TEXT, 1 << 40), (-1, 1), (1 << 64, 1),
    ]:  # fmt: skip
        with pytest.raises(MemoryFault):
            vmlinux.read(address, size)


def test_reads_across_sections_that_touch(tmp_path: Path) -> None:
    image = ElfFile(
        [Sec(".a", b"12", 0x1000, flags=CODE), Sec(".b", b"34", 0x1002)], [Sym("f", 0x1000)]
    ).write(tmp_path / "file")
    assert image.read(0x1001, 2) == b"23"


def test_a_file_cut_after_opening_is_a_fault(tmp_path: Path) -> None:
    image = kernel().write(tmp_path / "vmlinux")
    os.truncate(tmp_path / "vmlinux", 100)
    with pytest.raises(MemoryFault):
        image.read(TEXT + 0x100, 16)


@pytest.mark.parametrize(
    ("machine", "bits", "little", "expected"),
    [
        (X86_64, 64, True, "x86_64"),
        (I386, 32, True, "i386"),
        (AARCH64, 64, True, "aarch64"),
        (S390, 64, False, "s390x"),
        (21, 64, False, "ppc64"),
        (243, 64, True, "riscv64"),
    ],
)
def test_architectures(
    tmp_path: Path, machine: int, bits: int, little: bool, expected: str
) -> None:
    text = Sec(".text", bytes(64), 0x10_0000, flags=CODE)
    notes = Sec(".notes", note(b"GNU\0", 3, b"\x01\x02", little=little), 0x20_0000, kind=NOTE)
    image = ElfFile(
        [text, notes], [Sym("f", 0x10_0010, 8)], bits=bits, little=little, machine=machine
    ).write(tmp_path / "file")
    assert image.architecture == expected
    assert image.bits == bits
    assert image.build_id == b"\x01\x02"
    assert symbols_of(image) == [Symbol("f", 0x10_0010, 0x10_0018)]


def test_what_is_a_function(tmp_path: Path) -> None:
    image = ElfFile(
        [
            Sec(".text", bytes(256), 0x1000, flags=CODE),
            Sec(".data", bytes(256), 0x2000),
            Sec(".debug", bytes(256), 0, flags=0),
        ],
        [
            Sym("function", 0x1000, 16),
            Sym("label", 0x1010, kind=NOTYPE),
            Sym("local", 0x1020, 8, binding=LOCAL),
            Sym("$x", 0x1028, kind=NOTYPE),
            Sym(".Ltmp0", 0x1029, kind=NOTYPE),
            Sym("L0\x01", 0x102A, kind=NOTYPE),
            Sym("object", 0x1030, 8, kind=OBJECT),
            Sym("data_label", 0x2000, kind=NOTYPE, section=2),
            Sym("debug", 0x10, 8, section=3),
            Sym("file.c", 0x1040, kind=FILE, section=0xFFF1),
            Sym(".text", 0x1000, kind=SECTION),
            Sym("undefined", 0, section=0),
            Sym("absolute", 0x1050, kind=NOTYPE, section=0xFFF1),
            Sym("end_of_text", 0x1100, kind=NOTYPE),
            Sym("no_such_section", 0x1060, 8, section=77),
        ],
    ).write(tmp_path / "file")
    assert symbols_of(image) == [
        Symbol("function", 0x1000, 0x1010),
        Symbol("label", 0x1010, 0x1020),
        Symbol("local", 0x1020, 0x1028),
    ]
    assert image.address_of("object") == 0x1030
    assert image.address_of("undefined") is None


def test_ends_of_symbols_without_size(tmp_path: Path) -> None:
    image = ElfFile(
        [
            Sec(".text", bytes(0x100), 0x1000, flags=CODE),
            Sec(".two", bytes(16), 0x9000, flags=CODE),
        ],
        [
            Sym("outer", 0x1000, 0x40),
            Sym("inner", 0x1010, kind=NOTYPE),
            Sym("tail", 0x1080),
            Sym("huge", 0x1090, (1 << 64) - 1),
            Sym("second", 0x9000, section=2),
        ],
    ).write(tmp_path / "file")
    assert [(s.name, s.end) for s in symbols_of(image)] == [
        ("outer", 0x1040),
        ("inner", 0x1040),
        ("tail", 0x1090),
        ("huge", 0x1100),
        ("second", 0x9010),
    ]


def test_address_of_prefers_the_global(tmp_path: Path) -> None:
    image = ElfFile(
        [Sec(".text", bytes(64), 0x1000, flags=CODE)],
        [Sym("twin", 0x1000, 4, binding=LOCAL), Sym("twin", 0x1010, 4, binding=GLOBAL)],
    ).write(tmp_path / "file")
    assert image.address_of("twin") == 0x1010


def test_text_in_two_places_far_apart(tmp_path: Path) -> None:
    image = ElfFile(
        [
            Sec(".boot", bytes(64), 0x10_0000, flags=CODE),
            Sec(".text", bytes(4096), TEXT, flags=CODE),
        ],
        [Sym("boot", 0x10_0000, 8), Sym("main", TEXT, 8, section=2)],
    ).write(tmp_path / "file")
    assert image.text_ranges == ((0x10_0000, 0x10_0040), (TEXT, TEXT + 4096))
    assert image.text == (TEXT, TEXT + 4096)


def test_a_module_is_laid_out_as_the_kernel_does(tmp_path: Path) -> None:
    image = ElfFile(
        [
            Sec(".note.gnu.build-id", note(b"GNU\0", 3, b"\x05" * 20), kind=NOTE, align=4),
            Sec(".init.text", bytes(0x33), flags=CODE),
            Sec(".text", bytes(0x45), flags=CODE, align=16),
            Sec(".text.unlikely", bytes(0x10), flags=CODE, align=32),
            Sec(".data", bytes(8), align=8),
        ],
        [
            Sym("start", 0, 4, section=2),
            Sym("work", 4, 8, section=3),
            Sym("work.cold", 0, 4, section=4),
            Sym("value", 0, 8, kind=OBJECT, section=5),
        ],
        type=REL,
    ).write(tmp_path / "module.ko")
    assert image.relocatable
    assert image.build_id == b"\x05" * 20
    where = {symbol.name: symbol.start for symbol in symbols_of(image)}
    assert where["work"] == 4
    assert where["work.cold"] == 0x60, "after .text, aligned"
    assert where["start"] > where["work.cold"], "init text is apart"


def test_segments_tell_where_there_are_no_loaded_sections(tmp_path: Path) -> None:
    file = ElfFile(
        [Sec(".comment", b"x", flags=0)],
        [Sym("unused", 1)],
        segments=[
            (1, 5, 0x8000, b"code"),
            (4, 4, 0x9000, note(b"GNU\0", 3, b"\x09" * 20)),
        ],
    )
    image = file.write(tmp_path / "file")
    assert image.read(0x8000, 4) == b"code"
    assert image.build_id == b"\x09" * 20
    assert image.notes is not None
    assert image.notes[0] == 0x9000
    assert image.text_ranges == ((0x8000, 0x8004),)


def test_no_linux_is_no_release(tmp_path: Path) -> None:
    image = ElfFile(
        [Sec(".text", b"not a banner" + bytes(500), 0x1000, flags=CODE)],
        [Sym("linux_banner", 0x1000, kind=OBJECT), Sym("f", 0x1000)],
    ).write(tmp_path / "file")
    assert image.linux_release is None
    assert image.banner == b""
