from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from symbols.errors import ImageError, MismatchError
from symbols.module_files import ModuleFiles, image_of_module, open_module
from symbols.module_list import ListedModule, ModuleState
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, NOTE, REL, ElfFile, Sec, Sym, note

RELEASE = "6.1.0-9-test"
START = 0xFFFF_FFFF_C034_D000
TEXT = (START, START + 0x3000)
MODULE = ListedModule("zram_x", 0, ModuleState.LIVE, TEXT, (TEXT,))


def a_module(build_id: bytes = b"\xab" * 20) -> bytes:
    return ElfFile(
        [
            Sec(".text", bytes(0x200), flags=ALLOC | EXECUTE),
            Sec(".text.unlikely", bytes(0x80), flags=ALLOC | EXECUTE),
            Sec(".init.text", bytes(0x80), flags=ALLOC | EXECUTE),
            Sec(".note.gnu.build-id", note(b"GNU\0", 3, build_id), kind=NOTE),
            Sec(".data", bytes(0x80)),
        ],
        [
            Sym("zram_open", 0x10, 0x20, section=1),
            Sym("zram_close", 0x40, 0, section=1),
            Sym("zram_open.cold", 0x0, 0x10, section=2),
            Sym("zram_init", 0x0, 0x10, section=3),
        ],
        type=REL,
    ).build()


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_compressed_modules_are_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zram.ko{suffix}"
    path.write_bytes(COMPRESSED[suffix](a_module()))
    image = open_module(path)
    assert image.build_id == b"\xab" * 20
    assert image.address_of("zram_close") == 0x40
    assert image.path == str(path)


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zst"])
def test_damaged_modules_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"zram.ko{suffix}"
    whole = COMPRESSED[suffix](a_module())
    for data in (b"", b"garbage", whole[: len(whole) // 2], COMPRESSED[suffix](b"no ELF")):
        path.write_bytes(data)
        with pytest.raises(ImageError):
            open_module(path)


@given(st.binary(max_size=60), st.sampled_from([".xz", ".gz", ".zst"]))
def test_any_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.ko{suffix}"
    for head in (b"", COMPRESSED[suffix](a_module())[:20]):
        path.write_bytes(head + data)
        with pytest.raises(ImageError):
            open_module(path)


@pytest.mark.parametrize(
    "place",
    [
        f"lib/modules/{RELEASE}/kernel/drivers/block/zram-x.ko",
        f"usr/lib/modules/{RELEASE}/updates/zram_x.ko.xz",
        f"usr/lib/debug/lib/modules/{RELEASE}/kernel/zram-x.ko.debug",
        f"{RELEASE}/kernel/zram-x.ko.gz",
        "build/zram-x.ko",
    ],
)
def test_files_are_found_where_distributions_keep_them(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    suffix = path.suffix if path.suffix in COMPRESSED else ""
    path.write_bytes(COMPRESSED[suffix](a_module()))
    files = ModuleFiles([tmp_path], RELEASE)
    found = files.find("zram_x", b"\xab" * 20)
    assert found is not None
    assert found.path == str(path)
    assert files.find("zram", b"\xab" * 20) is None
    assert files.find("zram_x", b"\xcd" * 20) is None
    unproven = files.find("zram_x", b"")
    assert unproven is not None


def test_the_file_of_the_right_build_is_taken(tmp_path: Path) -> None:
    for number, build in enumerate((b"\x01", b"\x02", b"\x03")):
        path = tmp_path / str(number) / "zram.ko"
        path.parent.mkdir()
        path.write_bytes(a_module(build * 20) if number else b"no module at all")
    found = ModuleFiles([tmp_path]).find("zram", b"\x03" * 20)
    assert found is not None
    assert found.path.endswith("2/zram.ko")


def test_a_release_leads_nowhere_else(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "zram.ko").write_bytes(a_module())
    inside = tmp_path / "inside" / "lib" / "modules"
    inside.mkdir(parents=True)
    files = ModuleFiles([tmp_path / "inside"], "../../../outside")
    assert files.candidates("zram") == ()


def test_sections_lie_where_the_guest_has_them(tmp_path: Path) -> None:
    (tmp_path / "zram.ko").write_bytes(a_module())
    image = open_module(tmp_path / "zram.ko")
    sections = {
        ".text": START,
        ".text.unlikely": START + 0x2000,
        ".init.text": START + 0x9000,
        ".data": START + 0x2800,
    }
    loaded = image_of_module(image, MODULE, sections)
    assert loaded.table is not None
    symbols = [loaded.table[i] for i in range(len(loaded.table))]
    assert [(s.name, s.start - START, s.end - START) for s in symbols] == [
        ("zram_open", 0x10, 0x30),
        ("zram_close", 0x40, 0x200),
        ("zram_open.cold", 0x2000, 0x2010),
    ]  # fmt: skip
    assert (loaded.start, loaded.end) == TEXT
    assert loaded.build_id == image.build_id
    assert loaded.path == image.path
    with pytest.raises(MismatchError, match="none of its sections"):
        image_of_module(image, MODULE, {".text": START - 0x10000})


@given(st.dictionaries(st.sampled_from([".text", ".text.unlikely", ".init.text"]),
                       st.one_of(st.integers(0, (1 << 64) - 1), st.integers(*TEXT))))  # fmt: skip
def test_any_sections_give_a_table_in_order(
    tmp_path_factory: pytest.TempPathFactory, sections: dict[str, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "sections.ko"
    if not path.exists():
        path.write_bytes(a_module())
    try:
        loaded = image_of_module(open_module(path), MODULE, sections)
    except MismatchError:
        return
    assert loaded.table is not None
    starts = loaded.table.start.tolist()
    assert starts == sorted(set(starts))
    assert starts[0] >= START
    assert max(loaded.table.end.tolist()) <= TEXT[1]
