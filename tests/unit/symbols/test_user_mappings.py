from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.errors import BtfError
from symbols.memory import BytesMemory
from symbols.structures import Structures
from symbols.user_mappings import UserMapping, UserMappings
from tests.unit.symbols.btf_blob import INT, Blob
from tests.unit.symbols.process_memory import Mapped, ProcessMemory, types

both_ways = pytest.mark.parametrize("maple", [True, False])


def with_files(maple: bool) -> tuple[ProcessMemory, dict[str, int]]:
    """A root with /bin/busybox, and /usr as a file system of its own with lib/libc.so.6."""
    kernel = ProcessMemory(maple)
    root, mount = kernel.entry(b"/", None), kernel.mount()
    usr = kernel.mount(mount, kernel.entry(b"usr", root))
    usr_root = kernel.entry(b"/", None)
    files = {
        "/bin/busybox": kernel.file(mount, kernel.entry(b"busybox", kernel.entry(b"bin", root))),
        "/usr/lib/libc.so.6": kernel.file(
            usr, kernel.entry(b"libc.so.6", kernel.entry(b"lib", usr_root))
        ),
        "/\\x1b[2J\\x2f": kernel.file(mount, kernel.entry(b"\x1b[2J/", root)),
    }
    return kernel, files


@both_ways
def test_what_may_run_is_found_with_its_path(maple: bool) -> None:
    kernel, files = with_files(maple)
    mm = kernel.process(
        [
            Mapped(0x40_0000, 0x40_1000, 0, files["/bin/busybox"], flags=1),
            Mapped(0x40_1000, 0x58_5000, 1, files["/bin/busybox"]),
            Mapped(0x7F00_0000_0000, 0x7F00_0010_0000, 0x26, files["/usr/lib/libc.so.6"]),
            Mapped(0x7F00_0020_0000, 0x7F00_0020_1000),
            Mapped(0x7FFD_0000_0000, 0x7FFD_0000_2000),
        ],
        vdso=0x7FFD_0000_0000,
    )
    found = UserMappings(kernel.structures()).of(mm)
    assert found == (
        UserMapping(0x40_1000, 0x58_5000, 0x1000, "/bin/busybox"),
        UserMapping(0x7F00_0000_0000, 0x7F00_0010_0000, 0x26000, "/usr/lib/libc.so.6"),
        UserMapping(0x7F00_0020_0000, 0x7F00_0020_1000, 0, "[anon]"),
        UserMapping(0x7FFD_0000_0000, 0x7FFD_0000_2000, 0, "[vdso]"),
    )
    assert [mapping.name for mapping in found] == ["busybox", "libc.so.6", "[anon]", "[vdso]"]


@both_ways
@pytest.mark.parametrize("count", [0, 1, 2, 5, 19])
def test_any_number_of_mappings_is_found(maple: bool, count: int) -> None:
    kernel, files = with_files(maple)
    file = files["/bin/busybox"]
    mapped = [
        Mapped(0x10_0000 * (i + 1), 0x10_0000 * (i + 1) + 0x2000, i, file) for i in range(count)
    ]
    mm = kernel.process(mapped, deep=count > 2)
    found = UserMappings(kernel.structures()).of(mm)
    assert found is not None
    assert [(one.start, one.end, one.offset) for one in found] == [
        (one.start, one.end, 4096 * one.page) for one in mapped
    ]


@pytest.mark.parametrize(
    ("told", "page"), [(0, 4096), (4096, 4096), (16384, 16384), (65536, 65536), (4097, 4096)]
)
def test_offsets_are_in_pages_of_the_size_that_programs_are_told(told: int, page: int) -> None:
    kernel, files = with_files(maple=True)
    mm = kernel.process([Mapped(0x41_0000, 0x43_0000, 3, files["/bin/busybox"])], page=told)
    (found,) = UserMappings(kernel.structures()).of(mm) or ()
    assert (found.page, found.offset) == (page, 3 * page)


@both_ways
def test_hostile_names_are_safe_to_show(maple: bool) -> None:
    kernel, files = with_files(maple)
    name = "/\\x1b[2J\\x2f"
    mm = kernel.process([Mapped(0x1000, 0x2000, 0, files[name])])
    found = UserMappings(kernel.structures()).of(mm)
    assert found is not None
    assert [one.path for one in found] == [name]


def test_what_cannot_be_read_is_told_apart_from_nothing() -> None:
    kernel, _ = with_files(maple=True)
    mm = kernel.process([Mapped(0x1000, 0x2000, 0, 0xFFFF_8880_7777_0000)])
    reader = UserMappings(kernel.structures())
    assert reader.of(0xFFFF_8880_7777_0000) is None
    assert reader.of(mm) == (UserMapping(0x1000, 0x2000, 0, "[unknown file]"),)


def test_a_directory_that_is_its_own_ancestor_ends() -> None:
    kernel, _ = with_files(maple=True)
    at = kernel.heap
    inner = kernel.entry(b"a", at + 512)
    assert kernel.entry(b"b", inner) == at + 512
    file = kernel.file(kernel.mount(), inner)
    mm = kernel.process([Mapped(0x1000, 0x2000, 0, file)])
    found = UserMappings(kernel.structures()).of(mm)
    assert found is not None
    assert len(found[0].path) <= 200


def test_types_without_mappings_say_so() -> None:
    blob = Blob()
    blob.add(INT, "int", 4, 32)
    with pytest.raises(BtfError):
        UserMappings(Structures(BytesMemory([]), Btf.parse(blob.bytes())))


@given(st.booleans(), st.integers(0, 2**32), st.integers(1, 40))
def test_damaged_memory_gives_mappings_or_none(maple: bool, seed: int, hits: int) -> None:
    kernel, files = with_files(maple)
    mapped = [
        Mapped(0x10_0000 * (i + 1), 0x10_0000 * (i + 1) + 0x2000, i, file)
        for i, file in enumerate(files.values())
    ]
    mm = kernel.process(mapped, deep=True)
    rng = random.Random(seed)
    for _ in range(hits):
        at = rng.choice(list(kernel.pieces))
        data = bytearray(kernel.pieces[at])
        place = rng.randrange(0, max(len(data) - 7, 1), 8)
        value = rng.choice([0, rng.choice(list(kernel.pieces)) | 14, rng.getrandbits(64), mm])
        data[place : place + 8] = value.to_bytes(8, "little")
        kernel.pieces[at] = bytes(data)
    found = UserMappings(kernel.structures()).of(mm)
    for one in found or ():
        assert 0 <= one.start < one.end <= 1 << 64
        assert one.path.isprintable()


@both_ways
def test_the_types_are_those_of_either_way(maple: bool) -> None:
    assert (Btf.parse(types(maple=maple)).member("mm_struct", "mm_mt") is not None) == maple
