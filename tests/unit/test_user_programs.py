"""Programs of a guest get the symbols of a file, if it is the one that the guest has open."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.user_following import images_of
from gprof.user_programs import UserPrograms
from symbols.btf import Btf
from symbols.elf import Image
from symbols.elf_head import ElfHead, elf_head
from symbols.memory import BytesMemory
from symbols.page_cache import PageCache
from symbols.structures import Structures
from symbols.user_files import UserFiles
from symbols.user_mappings import UserMapping
from tests.unit.symbols.btf_blob import ARRAY, INT, POINTER, Blob

MEMORY, PAGES = 0xFFFF_8A36_4000_0000, 0xFFFF_EC00_0000_0000
SYMBOLS = {"page_offset_base": 0xFFFF_FFFF_8B00_0000, "vmemmap_base": 0xFFFF_FFFF_8B00_0008}
NO_SYMBOLS: dict[str, int] = {}
FILE, CACHE, NODE = MEMORY + 0x5000, MEMORY + 0x6000, MEMORY + 0x7000
PAGE_SIZE = 64
FRAME = 0x1234


def structures(
    head: bytes, entry: int, *, deep: bool = False, memory: int = MEMORY, page: int = 4096
) -> Structures:
    """A kernel with one open file, whose first page is known."""
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    pointer = blob.add(POINTER, "", 0)
    slots = blob.add(ARRAY, "", 0, pointer, u32, 64)
    tree = blob.struct("xarray", 16, ("xa_head", pointer, 64))
    blob.struct("xa_node", 576, ("slots", slots, 8 * 40))
    blob.struct("address_space", 64, ("i_pages", tree, 8 * 8))
    blob.struct("file", 64, ("f_mapping", pointer, 8 * 24))
    blob.struct("page", PAGE_SIZE, ("flags", pointer, 0))
    blob.struct("vm_layout", 32, ("identity_base", pointer, 8 * 16))
    moved = memory - MEMORY
    top = NODE + moved | 2 if deep else entry
    pieces = BytesMemory([
        (SYMBOLS["page_offset_base"], struct.pack("<QQ", MEMORY, PAGES)),
        (FILE + moved + 24, struct.pack("<Q", CACHE + moved)),
        (CACHE + moved + 16, struct.pack("<Q", top)),
        (NODE + moved + 40, struct.pack("<Q", entry)),
        (memory + FRAME * page, head.ljust(page, b"\0")),
    ])  # fmt: skip
    return Structures(pieces, Btf.parse(blob.bytes()))


ENTRY = PAGES + FRAME * PAGE_SIZE


@pytest.mark.parametrize("deep", [True, False])
def test_the_first_page_of_a_file_is_found(deep: bool) -> None:
    cache = PageCache(structures(b"\x7fELF!", ENTRY, deep=deep), "x86_64", SYMBOLS.get)
    found = cache.first_page(FILE, 4096)
    assert found is not None
    assert found.rstrip(b"\0") == b"\x7fELF!"
    assert cache.first_page(FILE + 64, 4096) is None
    other = PageCache(structures(b"\x7fELF!", ENTRY), "ppc64", SYMBOLS.get)
    assert other.first_page(FILE, 4096) is None


@pytest.mark.parametrize("memory", [0, MEMORY])
def test_s390x_tells_where_pages_are(memory: int) -> None:
    # The two variables are neighbours; before Linux 6.10 there was the second alone.
    symbols = {"vmemmap": SYMBOLS["vmemmap_base"]}
    if memory:
        symbols["vm_layout"] = SYMBOLS["page_offset_base"] - 16
    cache = PageCache(structures(b"\x7fELF!", ENTRY, memory=memory), "s390x", symbols.get)
    found = cache.first_page(FILE - MEMORY + memory, 4096)
    assert found is not None
    assert found.startswith(b"\x7fELF!")
    symbols.clear()
    assert cache.first_page(FILE, 4096) is None or memory


@pytest.mark.parametrize(
    ("architecture", "memory", "pages", "page"),
    [
        ("aarch64", 0xFFFF_0000_0000_0000, 0xFFFF_FDFF_FFE0_0000, 4096),  # Linux 5.10, 48 bits
        ("aarch64", 0xFFFF_0000_0000_0000, 0xFFFF_FC00_0000_0000, 4096),  # 6.1
        ("aarch64", 0xFFFF_0000_0000_0000, 0xFFFF_FDFF_C000_0000, 4096),  # 6.12
        ("aarch64", 0xFFFF_FF80_0000_0000, 0xFFFF_FFFE_0000_0000, 4096),  # 6.1, 39 bits
        ("aarch64", 0xFFF0_0000_0000_0000, 0xFFFF_C000_0000_0000, 4096),  # 6.1, 52 bits
        ("aarch64", 0xFFFF_8000_0000_0000, 0xFFFF_FFBF_C000_0000, 16384),  # 6.12, 47 bits
        ("aarch64", 0xFFF0_0000_0000_0000, 0xFFFF_F03F_C000_0000, 16384),  # 52 bits
        ("aarch64", 0xFFF0_0000_0000_0000, 0xFFFF_FC00_0000_0000, 65536),  # 6.1, 52 bits
        ("riscv64", 0xFF60_0000_0000_0000, 0xFF1C_0000_0000_0000, 4096),  # 6.12, 57 bits
        ("riscv64", 0xFFFF_AF80_0000_0000, 0xFFFF_8D80_0000_0000, 4096),  # 48 bits
        ("riscv64", 0xFFFF_FFD6_0000_0000, 0xFFFF_FFC5_0000_0000, 4096),  # 39 bits
    ],
)
def test_the_width_of_addresses_tells_where_pages_are(
    architecture: str, memory: int, pages: int, page: int
) -> None:
    entry = pages + FRAME * PAGE_SIZE
    file = FILE - MEMORY + memory
    kernel = structures(b"\x7fELF!", entry, memory=memory, page=page)
    found = PageCache(kernel, architecture, NO_SYMBOLS.get).first_page(file, page)
    assert found is not None
    assert found.startswith(b"\x7fELF!")
    kernel = structures(b"#!/bin/sh", entry, memory=memory, page=page)
    assert PageCache(kernel, architecture, NO_SYMBOLS.get).first_page(file, page) is None


@pytest.mark.parametrize("entry", [0, ENTRY | 1, ENTRY + 8, 0x1000, NODE | 2, 2])
def test_what_is_no_page_is_none(entry: int) -> None:
    cache = PageCache(structures(b"", entry, deep=True), "x86_64", SYMBOLS.get)
    assert cache.first_page(FILE, 4096) is None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shared object with a build id and two functions, below a root."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed (apt-get install gcc)")
    path = tmp_path_factory.mktemp("root") / "lib" / "libtwo.so"
    path.parent.mkdir()
    source = "int one(int a) { return a + 1; } int two(int a) { return one(a) * 2; }"
    options = ("-shared", "-fPIC", "-O1", "-nostdlib", "-Wl,--build-id", "-xc", "-")
    subprocess.run([compiler, *options, "-o", path], input=source.encode(), check=True)
    return path


def test_the_head_of_a_file_is_what_the_file_says(program: Path) -> None:
    head = elf_head(program.read_bytes()[:4096])
    assert head is not None
    image = Image.open(program)
    assert head.build_id == image.build_id
    text = image.section(".text")
    assert text is not None
    page = text.offset & -4096
    assert head.linked(page) == text.address - (text.offset - page)
    assert head.linked(1 << 40) is None


def test_a_page_shared_by_two_parts_is_of_the_one_that_runs() -> None:
    parts = [(1, 4, 0, 0, 0x5F10), (1, 5, 0x5F10, 0x1_5F10, 0x900)]  # load, flags, where, size
    headers = [
        struct.pack("<IIQQQQQQ", kind, flags, at, linked, linked, size, size, 0x1_0000)
        for kind, flags, at, linked, size in parts
    ]
    start = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 183, 1, 0, 64, 0, 0,
                        64, 56, len(headers), 0, 0, 0)  # fmt: skip
    head = elf_head((start + b"".join(headers)).ljust(4096, b"\0"))
    assert head is not None
    assert head.linked(0x4000, 0x4000) == 0x1_4000
    assert head.linked(0x5000, 0x1000) == 0x1_5000
    assert head.linked(0x4000, 0x1000) == 0x4000
    assert head.linked(0, 0x1_0000) == 0x1_0000


@pytest.mark.parametrize("stripped", [False, True])
def test_symbols_are_those_of_the_same_build(program: Path, tmp_path: Path, stripped: bool) -> None:
    root = program.parent.parent
    if stripped:
        if shutil.which("strip") is None:
            pytest.skip("strip is not installed (apt-get install binutils)")
        root = tmp_path
        (root / "lib").mkdir()
        subprocess.run(["strip", "-o", root / "lib" / "libtwo.so", program], check=True)
    content = program.read_bytes()
    text = Image.open(program).section(".text")
    assert text is not None
    page = text.offset & -4096
    start = 0x7F00_0000_0000
    mapping = UserMapping(start + page, start + page + 4096, page, "/lib/libtwo.so", FILE)
    cache = PageCache(structures(content[:4096], ENTRY), "x86_64", SYMBOLS.get)
    found = UserPrograms(cache, UserFiles([root])).with_symbols([mapping], images_of([mapping]))
    (image,) = found
    assert image.table is not None
    names = {image.table[i].name for i in range(len(image.table))}
    assert names >= {"one", "two"}
    assert (text.address + image.slide) % 2**64 == start + text.address
    nowhere = UserPrograms(cache, UserFiles([root / "lib"]))
    assert nowhere.with_symbols([mapping], images_of([mapping]))[0].table is None


def test_another_build_is_not_taken(program: Path) -> None:
    files = UserFiles([program.parent.parent])
    build_id = Image.open(program).build_id
    assert files.find("/lib/libtwo.so", build_id) is files.find("/lib/libtwo.so", build_id)
    assert files.find("/lib/libtwo.so", build_id) is not None
    assert files.find("/lib/libtwo.so", bytes(20)) is None
    assert files.find("/lib/libtwo.so", b"") is None


@pytest.mark.parametrize("path", ["/lib/../lib/libtwo.so", "lib/libtwo.so", "/lib//libtwo.so", ""])
def test_no_path_leads_elsewhere(program: Path, path: str) -> None:
    build_id = Image.open(program).build_id
    assert UserFiles([program.parent.parent]).find(path, build_id) is None


def test_debugging_symbols_are_found_by_the_build_id(program: Path, tmp_path: Path) -> None:
    image = Image.open(program)
    name = image.build_id.hex()
    place = tmp_path / "usr/lib/debug/.build-id" / name[:2] / f"{name[2:]}.debug"
    place.parent.mkdir(parents=True)
    shutil.copy(program, place)
    found = UserFiles([tmp_path]).find("/gone/libtwo.so", image.build_id)
    assert found is not None
    assert found.path == str(place)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_head_or_none(data: bytes, begun: bool) -> None:
    found = elf_head((b"\x7fELF\x02\x01" if begun else b"") + data)
    assert found is None or isinstance(found, ElfHead)
    if found is not None:
        found.linked(0)
