from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symbols.elf import Image
from symbols.errors import ImageError
from symbols.memory import MemoryFault
from symbols.table import Symbol
from tests.unit.symbols.elf_files import (
    AARCH64,
    ALLOC,
    BANNER,
    EXECUTE,
    FILE,
    FUNC,
    FUNCTIONS,
    GLOBAL,
    I386,
    LOCAL,
    NOBITS,
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
    WEAK,
    X86_64,
    ElfFile,
    Sec,
    Sym,
    kernel,
    note,
)  # fmt: skip

CODE = ALLOC | EXECUTE
SOURCE = r"""
static int local_twin(int x) { return x * 3 + 1; }
int (*volatile keep)(int) = local_twin;
int counter = 7;
static int zeroed[1000];
__attribute__((noinline)) int plain(int x) { return keep(x) + zeroed[x & 7]; }
__attribute__((weak, alias("plain"))) int weak_twin(int x);
__attribute__((alias("plain"))) int __plain(int x);
__asm__(".text\n.globl bare_label\nbare_label:\n nop\n nop\n ret\n"
        ".globl typed\n.type typed,@function\ntyped:\n nop\ninner_label:\n ret\n"
        ".size typed,.-typed\n");
int main(void) { return plain(counter); }
"""


def opened(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "file"
    path.write_bytes(data)
    return Image.open(path)


def symbols_of(image: Image) -> list[Symbol]:
    return [image.table[i] for i in range(len(image.table))]


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


@pytest.mark.parametrize(
    ("data", "seen", "advice"),
    [
        (b"", "empty", "Copy it again"),
        (b"\x1f\x8b\x08" + bytes(99), "gzip", "gzip -dk"),
        (b"\xfd7zXZ\0" + bytes(99), "xz", "xz -dk"),
        (b"\x28\xb5\x2f\xfd" + bytes(99), "zstd", "zstd -d"),
        (bytes(0x202) + b"HdrS" + bytes(600), "bzImage", "-dbg"),
        (b"MZ" + bytes(0x200) + b"HdrS" + bytes(600), "bzImage", "-dbg"),
        (b"MZ\0\0" + bytes(0x34) + b"ARM\x64" + bytes(600), "boot image", "-dbg"),
        (b"MZ" + bytes(600), "EFI", "-dbg"),
        (b"ffffffff81000000 T _text\n", "kallsyms", "--guestkallsyms"),
        (b"ffffffffffffffff B The real System.map is in the package\n", "stub", "-dbg"),
        (b"!<arch>\ndebian-binary", "Debian package", "dpkg -x"),
        (b"PERFILE2" + bytes(100), "perf.data", "-i"),
        (b"hello\nworld\n", "'hello'", ""),
        (b"\x00\x01\x02\x03" * 20, "00 01 02 03", ""),
    ],
)
def test_what_is_no_elf_file_is_named(tmp_path: Path, data: bytes, seen: str, advice: str) -> None:
    with pytest.raises(ImageError) as caught:
        opened(tmp_path, data)
    assert seen in caught.value.problem
    assert advice in caught.value.remedy


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, seen in [
        (tmp_path / "absent", "does not exist"),
        (tmp_path, "directory"),
        (tmp_path / "pipe", "regular file"),
        (tmp_path / "nul\0", "cannot be read"),
    ]:
        with pytest.raises(ImageError, match=seen):
            Image.open(path)


def test_names_of_files_are_made_safe() -> None:
    with pytest.raises(ImageError) as caught:
        Image.open("/absent\x1b[31m")
    assert "\x1b" not in str(caught.value)


def test_a_stripped_file_says_so(tmp_path: Path) -> None:
    file = ElfFile([Sec(".text", bytes(64), TEXT, flags=CODE)])
    with pytest.raises(ImageError, match="stripped") as caught:
        file.write(tmp_path / "stripped")
    assert "-dbg" in caught.value.remedy


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    whole = kernel().build()
    for keep in (5, 16, 40, 63, 64, 1000, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ImageError, match=r"cut short|no ELF"):
            opened(tmp_path, whole[:keep])


def test_impossible_counts_are_refused(tmp_path: Path) -> None:
    whole = bytearray(kernel().build())
    whole[60:62] = b"\0\0"  # e_shnum 0: the count is in the first header's size
    at = int.from_bytes(whole[40:48], "little")
    whole[at + 32 : at + 40] = b"\xff" * 8
    with pytest.raises(ImageError, match="sections"):
        opened(tmp_path, bytes(whole))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


SMALL = ElfFile(
    [
        Sec(".text", bytes(64), TEXT, flags=CODE),
        Sec(".notes", note(b"GNU\0", 3, b"\x01" * 20), NOTES, kind=NOTE),
        Sec(".bss", b"", NOTES + 4096, kind=NOBITS, size=64),
    ],
    [Sym("one", TEXT, 16), Sym("two", TEXT + 16, 0, NOTYPE), Sym("w", TEXT, 16, FUNC, WEAK)],
    segments=[(1, 5, TEXT, b"code")],
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL.build()) - 1), st.integers(0, 255)), max_size=12),
    st.integers(0, 64),
    st.sampled_from([(64, True), (64, False), (32, True), (32, False)]),
)
def test_any_damage_gives_symbols_or_an_image_error(
    scratch: Path,
    changes: list[tuple[int, int]],
    cut: int,
    shape: tuple[int, bool],
) -> None:
    bits, little = shape
    file = ElfFile(
        [Sec(s.name, s.data, s.address & ((1 << bits) - 1), s.kind, s.flags, s.size)
         for s in SMALL.sections],
        [Sym(s.name, s.value & ((1 << bits) - 1), s.size, s.kind, s.binding, s.section)
         for s in SMALL.symbols],
        bits=bits, little=little,
    )  # fmt: skip
    data = bytearray(file.build())
    for at, value in changes:
        data[at % len(data)] = value
    try:
        image = opened(scratch, bytes(data[: len(data) - cut]))
        table = image.table
        image.address_of("one")
        assert image.linux_release is None
    except ImageError:
        return
    assert (table.start[1:] > table.start[:-1]).all()
    assert (table.end > table.start).all()
    assert all(table.names[i].isprintable() for i in range(len(table)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400).map(lambda data: b"\x7fELF" + data) | st.binary(max_size=200))
def test_any_bytes_give_an_image_error(scratch: Path, data: bytes) -> None:
    with pytest.raises(ImageError):
        opened(scratch, data)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "program.c").write_text(SOURCE)
    subprocess.run(
        ["gcc", "-O1", "-Wl,--build-id=sha1", "-o", folder / "program", folder / "program.c"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder / "program"


def nm(*arguments: str | Path) -> list[list[str]]:
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    printed = subprocess.run(
        ["nm", *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return [line.split() for line in printed.stdout.splitlines()]


def test_same_functions_as_nm(compiled: Path) -> None:
    """Every function's address and size as nm prints them; and nothing nm calls no text."""
    image = Image.open(compiled)
    listed = {
        (int(address, 16), name): int(size, 16)
        for address, size, kind, name in (
            line for line in nm("-S", compiled) if len(line) == 4 and line[2] in "tTwW"
        )
    }
    # A label at the very end of its section holds nothing; the linker adds some.
    text = {
        int(line[0], 16)
        for line in nm("-n", compiled)
        if len(line) == 3
        and line[1] in "tTwW"
        and any(start <= int(line[0], 16) < end for start, end in image.text_ranges)
    }
    assert len(text) > 8
    assert {symbol.start for symbol in symbols_of(image)} == text
    for symbol in symbols_of(image):
        if (symbol.start, symbol.name) in listed:
            assert symbol.end - symbol.start == listed[symbol.start, symbol.name]
    names = {symbol.name: symbol for symbol in symbols_of(image)}
    assert "plain" in names
    assert "weak_twin" not in names
    assert "__plain" not in names
    assert names["bare_label"].end == names["typed"].start
    assert names["inner_label"].end == names["typed"].end


def test_same_addresses_as_nm(compiled: Path) -> None:
    image = Image.open(compiled)
    checked = 0
    for address, _, name in (line for line in nm("-n", compiled) if len(line) == 3):
        if "@" not in name:
            assert image.address_of(name) == int(address, 16), name
            checked += 1
    assert checked > 20


def test_same_build_id_as_readelf(compiled: Path) -> None:
    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    printed = subprocess.run(
        ["readelf", "-n", compiled], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    found = re.search(r"Build ID: ([0-9a-f]+)", printed)
    assert found
    assert Image.open(compiled).build_id.hex() == found[1]


def test_stripping_takes_the_symbols(compiled: Path, tmp_path: Path) -> None:
    if not shutil.which("strip"):
        pytest.skip("strip is not installed")
    subprocess.run(["strip", "-o", tmp_path / "bare", compiled], check=True, timeout=60)
    with pytest.raises(ImageError, match="stripped"):
        Image.open(tmp_path / "bare")
