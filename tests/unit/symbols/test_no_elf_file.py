"""What is no ELF file, a damaged one, or one without symbols is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symbols.elf import Image
from symbols.errors import ImageError
from tests.unit.symbols.elf_files import (
    CODE,
    FUNC,
    NOBITS,
    NOTE,
    NOTES,
    NOTYPE,
    TEXT,
    WEAK,
    ElfFile,
    Sec,
    Sym,
    kernel,
    note,
)  # fmt: skip


def opened(tmp_path: Path, data: bytes) -> Image:
    path = tmp_path / "file"
    path.write_bytes(data)
    return Image.open(path)


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
