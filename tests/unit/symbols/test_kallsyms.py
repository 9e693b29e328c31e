from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbols.elf import Image
from symbols.errors import KallsymsError
from symbols.kallsyms import Kallsyms, owner_kind
from symbols.space import ImageKind
from symbols.table import SymbolTable
from tests.unit.symbols.elf_files import kernel

#: Lines as a Debian 6.1 guest prints them, shortened.
TEXT = b"""\
0000000000000000 A fixed_percpu_data
0000000000001000 A cpu_debug_store
ffffffff9c800000 T startup_64
ffffffff9c800000 T _stext
ffffffff9c800000 T _text
ffffffff9c800080 t secondary_startup_64
ffffffff9c8be350 t __do_sys_getpid
ffffffff9c8be350 T __ia32_sys_getpid
ffffffff9c8be350 T __x64_sys_getpid
ffffffff9c8be380 t $x
ffffffff9c8be390 W memcpy
ffffffff9c8be390 T __memcpy
ffffffff9d25aa68 T __kprobes_text_start
ffffffff9d25aa68 T __kprobes_text_end
ffffffff9d601d00 t last_function
ffffffff9d601d32 T _etext
ffffffff9d961900 D linux_banner
ffffffff9e844000 D __init_begin
ffffffff9e879000 T _sinittext
ffffffff9e879000 T early_idt_handler_array
ffffffff9e8e7c04 T _einittext
ffffffff9eb05100 t mip6_fini
ffffffff9eb06000 R __init_end
ffffffff9fc30000 B _end
ffffffffc0310100 t second\t[virtio]
ffffffffc0310000 t first\t[virtio]
ffffffffc0310080 d data\t[virtio]
ffffffffc0320000 t bpf_prog_6deef7357e7b4530\t[bpf]
ffffffffc0330000 t ftrace_trampoline\t[__builtin__ftrace]
"""


def listed(table: SymbolTable) -> list[tuple[str, int, int]]:
    return [(s.name, s.start, s.end) for s in (table[i] for i in range(len(table)))]


def test_functions_of_the_kernel() -> None:
    kallsyms = Kallsyms.parse(TEXT)
    assert listed(kallsyms.kernel) == [
        ("startup_64", 0xFFFFFFFF9C800000, 0xFFFFFFFF9C800080),
        # The next symbol is far off: capped.
        ("secondary_startup_64", 0xFFFFFFFF9C800080, 0xFFFFFFFF9C810080),
        ("__x64_sys_getpid", 0xFFFFFFFF9C8BE350, 0xFFFFFFFF9C8BE390),
        ("__memcpy", 0xFFFFFFFF9C8BE390, 0xFFFFFFFF9C8CE390),
        ("last_function", 0xFFFFFFFF9D601D00, 0xFFFFFFFF9D601D32),
    ]
    assert kallsyms.text == (0xFFFFFFFF9C800000, 0xFFFFFFFF9D601D32)


def test_functions_of_modules() -> None:
    modules = Kallsyms.parse(TEXT).modules
    assert listed(modules["virtio"]) == [
        ("first", 0xFFFFFFFFC0310000, 0xFFFFFFFFC0310080),  # ends at the data between
        ("second", 0xFFFFFFFFC0310100, 0xFFFFFFFFC0312000),  # another owner follows: by pages
    ]
    assert listed(modules["bpf"])[0][0] == "bpf_prog_6deef7357e7b4530"
    assert list(modules) == ["virtio", "bpf", "__builtin__ftrace"]


def test_what_owners_are() -> None:
    assert owner_kind("ext4") == ImageKind.MODULE
    assert owner_kind("bpf_preload") == ImageKind.MODULE
    for name in ("bpf", "__builtin__ftrace", "__builtin__kprobes"):
        assert owner_kind(name) == ImageKind.GENERATED


def test_addresses_of_everything_listed() -> None:
    kallsyms = Kallsyms.parse(TEXT)
    assert kallsyms.address_of("linux_banner") == 0xFFFFFFFF9D961900
    assert kallsyms.address_of("cpu_debug_store") == 0x1000
    assert kallsyms.address_of("_etext") == 0xFFFFFFFF9D601D32
    assert kallsyms.address_of("data") == 0xFFFFFFFFC0310080
    assert kallsyms.address_of("absent") is None


def test_the_kernels_name_wins_over_a_modules() -> None:
    text = b"ffffffffc0000000 t twin\t[m]\nffffffff81000000 T twin\n"
    assert Kallsyms.parse(text).address_of("twin") == 0xFFFFFFFF81000000


def test_init_text_is_left_out_without_all_symbols_too() -> None:
    """Kernels without KALLSYMS_ALL list no data: only the T markers are there."""
    text = b"".join(line + b"\n" for line in TEXT.splitlines() if b" D " not in line)
    names = [name for name, _, _ in listed(Kallsyms.parse(text).kernel)]
    assert "early_idt_handler_array" not in names
    assert "last_function" in names


def test_addresses_of_32_bits() -> None:
    assert listed(Kallsyms.parse(b"c0100000 T a\nc0100010 t b\n").kernel) == [
        ("a", 0xC0100000, 0xC0100010),
        ("b", 0xC0100010, 0xC0102000),
    ]


def test_the_last_function_of_the_address_space_ends_in_it() -> None:
    text = b"fffffffffffffff0 T a\nfffffffffffffff8 t b\n"
    assert listed(Kallsyms.parse(text).kernel) == [
        ("a", (1 << 64) - 16, (1 << 64) - 8),
        ("b", (1 << 64) - 8, (1 << 64) - 1),
    ]


def test_undefined_symbols_of_nm_are_skipped() -> None:
    text = b"                 w __gmon_start__\nffffffff81000000 T a\n"
    assert len(Kallsyms.parse(text).names) == 1


def test_a_console_copy_with_carriage_returns() -> None:
    unix, dos = Kallsyms.parse(TEXT), Kallsyms.parse(TEXT.replace(b"\n", b"\r\n"))
    assert listed(unix.kernel) == listed(dos.kernel)
    assert listed(unix.modules["virtio"]) == listed(dos.modules["virtio"])


@pytest.mark.parametrize("keep", range(1, 57))
def test_a_last_line_cut_off_is_left_out(keep: int) -> None:
    last = b"ffffffffc0330000 t ftrace_trampoline\t[__builtin__ftrace]"
    whole = TEXT.removesuffix(last + b"\n")
    kallsyms = Kallsyms.parse(whole + last[:keep])
    assert listed(kallsyms.kernel) == listed(Kallsyms.parse(whole).kernel)
    assert len(kallsyms.modules) == 2


def test_hidden_addresses() -> None:
    with pytest.raises(KallsymsError, match="every address") as caught:
        Kallsyms.parse(b"0000000000000000 T _text\n0000000000000000 T _stext\n")
    assert "echo 0 > /proc/sys/kernel/kptr_restrict" in caught.value.remedy
    assert "root" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (b"", "empty"),
        (b"\n\n\n", "no symbols"),
        (b"\x7fELF\x02\x01\x01" + bytes(300), "ELF"),
        (b"\x1f\x8b" + bytes(300), "gzip"),
        (b"ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "stub"),
        (b"ffffffff81000000 T ok\nnonsense\nffffffff81000010 T ok\n", "line 2"),
        (b"ffffffff81000000 T ok\n\n\nffffffff8100001g T bad\n", "line 4"),
        (b"ffffffff81000000 T ok\nffffffff81000010 T bad\t(module)\n", "line 2"),
        (b"ffffffff81000000 T ok\nffffffff81000010 T \t[module]\n", "line 2"),
        (b"ffffffff81000000 T ok\nffffffff81000010 T bad\t[]\n", "line 2"),
        (b"ffffffff81000000 T ok\nffffffff81000010  T bad\n", "line 2"),
        (b"ffffffff81000000 D only_data\n", "no functions"),
        (b"nonsense", "'nonsense'"),
        (b"ffffffff8100", "'ffffffff8100'"),
        (b"\0" * 1000, "unknown data"),
    ],
)
def test_what_is_no_kallsyms_is_refused(text: bytes, seen: str) -> None:
    with pytest.raises(KallsymsError) as caught:
        Kallsyms.parse(text)
    assert seen in caught.value.problem
    assert caught.value.remedy


def test_bad_lines_are_shown_safely() -> None:
    with pytest.raises(KallsymsError) as caught:
        Kallsyms.parse(b"ffffffff81000000 T ok\n\x1b[2Jevil\nx\n")
    assert "\x1b" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_bytes(TEXT)
    assert Kallsyms.open(tmp_path / "kallsyms").path == str(tmp_path / "kallsyms")
    for path, seen in [
        (tmp_path / "absent", "does not exist"),
        (tmp_path, "directory"),
        (tmp_path / "a\0b", "cannot be read"),
    ]:
        with pytest.raises(KallsymsError, match=seen):
            Kallsyms.open(path)


def test_files_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("symbols.kallsyms.LARGEST", 1 << 20)
    (tmp_path / "huge").write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(KallsymsError, match="1 MiB"):
        Kallsyms.open(tmp_path / "huge")


PIECES = [
    *TEXT.splitlines(keepends=True),
    *(b"\n", b"\t", b" ", b"\r\n", b"ffffffff", b"\xff\xfe", b"[", b"]"),
    *(b"0000000000000000 t z\n", b"fffffffffffffff0 t top\n"),
]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES)).map(b"".join))
@example(b"ffffffff81000000 T a\t")
@example(b"ffffffff81000000 T ")
@example(b"0" * 16)
def test_any_text_gives_sound_tables_or_a_kallsyms_error(text: bytes) -> None:
    try:
        kallsyms = Kallsyms.parse(text)
    except KallsymsError:
        return
    for table in (kallsyms.kernel, *kallsyms.modules.values()):
        assert (table.start[1:] > table.start[:-1]).all()
        assert (table.end > table.start).all()
        assert (table.end - table.start <= np.uint64(1 << 16)).all()
        assert (table.end[:-1] <= table.start[1:]).all()
        assert all(table.names[i].isprintable() for i in range(len(table)))


def test_same_functions_as_the_elf_file(tmp_path: Path) -> None:
    """`nm -n` of a kernel is a System.map: read as text it names what the ELF file names."""
    if not shutil.which("nm"):
        pytest.skip("nm is not installed")
    image = kernel().write(tmp_path / "vmlinux")
    printed = subprocess.run(
        ["nm", "-n", image.path], check=True, capture_output=True, timeout=60
    ).stdout
    text = Kallsyms.parse(printed)
    by_text = {name: start for name, start, _ in listed(text.kernel)}
    by_file = {name: start for name, start, _ in listed(image.table)}
    assert by_text == by_file
    assert text.address_of("linux_banner") == image.address_of("linux_banner")
    assert isinstance(image, Image)


def test_labels_inside_of_a_function_do_not_end_it() -> None:
    text = (
        b"ffffffff01eb56b2 t zram_submit_bio\t[zram]\nffffffff01eb56ba t .L0 \t[zram]\n"
        b"ffffffff01eb5700 t $d\t[zram]\nffffffff01eb5800 t cleanup_module\t[zram]\n"
    )
    table = Kallsyms.parse(text).modules["zram"]
    assert [table.names[i] for i in range(len(table))] == ["zram_submit_bio", "cleanup_module"]
    assert table.end.tolist()[0] == 0xFFFF_FFFF_01EB_5800
