"""Firmware, boot loaders and others by the files that people have of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.errors import ImageError, SymbolsError
from symbols.extra_images import open_extra
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, ImageKind, Reason, Running
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, ElfFile, Sec, Sym

ENTRY = 0x10_0000
CODE = bytes(range(1, 256)) * 4


def loader(path: Path) -> Path:
    ElfFile(
        [Sec(".text", CODE, ENTRY, flags=ALLOC | EXECUTE)],
        [Sym("entry", ENTRY, 0x20), Sym("load", ENTRY + 0x40, 0x80)],
    ).write(path)
    return path


def symbol(named: str, address: int) -> str | None:
    at = AddressSpace([one.loaded for one in open_extra(named).images]).symbol_at(address)
    return at.symbol.name if at is not None else None


def ranges(named: str | Path) -> list[tuple[str, int, int]]:
    found = [one.loaded for one in open_extra(str(named)).images]
    assert {one.kind for one in found} == {ImageKind.FIRMWARE}
    return [(one.name, one.start, one.end) for one in found]


def test_an_elf_file_where_it_was_linked_and_where_it_was_moved(tmp_path: Path) -> None:
    path = loader(tmp_path / "loader.elf")
    assert ranges(path) == [("loader.elf", ENTRY, ENTRY + len(CODE))]
    assert symbol(str(path), ENTRY + 0x41) == "load"
    moved = f"{path}@0x7e00000"
    assert ranges(moved) == [("loader.elf", 0x7E0_0000, 0x7E0_0000 + len(CODE))]
    assert symbol(moved, 0x7E0_0041) == "load"
    assert symbol(f"{path}@+0xf0000", ENTRY + 0xF0041) == "load"


def test_a_binary_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "bios.bin"
    path.write_bytes(bytes(0x2_0000))
    assert ranges(f"{path}@0xe0000") == [("bios.bin", 0xE0000, 0x10_0000)]
    with pytest.raises(ImageError, match="nothing tells where") as caught:
        open_extra(str(path))
    assert f"{path}@0x" in caught.value.remedy
    with pytest.raises(ImageError, match="do not fit"):
        open_extra(f"{path}@0xfffffffffffffff0")


def test_a_text_of_symbols(tmp_path: Path) -> None:
    path = tmp_path / "u-boot.map"
    path.write_text("0000000000001000 T _start\n0000000000001040 T board_init\n")
    assert symbol(str(path), 0x1044) == "board_init"
    assert symbol(f"{path}@0x7ff00000", 0x7FF0_0044) == "board_init"


def test_the_log_of_a_firmware(tmp_path: Path) -> None:
    loader(tmp_path / "Shell.debug")
    log = tmp_path / "debug.log"
    log.write_bytes(
        b"PROGRESS CODE: V03020002 I0\r\n"
        b"Loading PEIM at 0x000008208C0 EntryPoint=0x00000823A15 PcdPeim.efi\r\n"
        b"Loading driver at 0x00007E53000 EntryPoint=0x00007E6D4A2 DxeCore.efi\r\n"
        b"Loading driver at 0x00007EA0000 EntryPoint=0x00007EA1000 \r\n"
        b"noise \x1b[2J add-symbol-file /build/DEBUG/Shell.dll 0x6000040\n"
        b"add-symbol-file /dev/zero 0x7000000\n"
    )
    found = {name: (start, end) for name, start, end in ranges(log)}
    assert found["PcdPeim"] == (0x8208C0, 0x9208C0)
    assert found["DxeCore"] == (0x7E53000, 0x7EA0000)  # the next one ends it
    assert found["driver at 0x7ea0000"] == (0x7EA0000, 0x7FA0000)
    assert found["Shell"] == (0x6000040, 0x6000040 + len(CODE))
    assert found["zero"][0] == 0x7000000
    assert symbol(str(log), 0x6000040 + 0x41) == "load"


def test_a_name_may_have_an_at_sign(tmp_path: Path) -> None:
    path = loader(tmp_path / "loader@0x40")
    assert ranges(path)[0][1] == ENTRY
    assert ranges(f"{path}@0x80")[0][1] == 0x80


@pytest.mark.parametrize("named", ["missing.elf", "missing.elf@0x10", "x@y", "@0x10", ""])
def test_what_is_not_there(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=r"does not exist|is no file"):
        open_extra(named)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ImageError, match="is no file"):
        open_extra(str(tmp_path / "pipe"))
    log = tmp_path / "log"
    log.write_text(f"add-symbol-file {tmp_path}/pipe 0x1000\n")
    assert ranges(log)[0][0] == "pipe"


def test_bytes_tell_whether_an_image_is_there(tmp_path: Path) -> None:
    (image,) = open_extra(str(loader(tmp_path / "loader.elf"))).images
    there, address = bytearray(CODE), ENTRY + 0x100
    assert image.holds(BytesMemory([(ENTRY, bytes(there))]), address) is True
    # A loader has changed two addresses.
    there[0xF8:0x100], there[0x110:0x118] = b"\xff" * 8, b"\xff" * 8
    assert image.holds(BytesMemory([(ENTRY, bytes(there))]), address) is True
    assert image.holds(BytesMemory([(ENTRY, bytes(len(CODE)))]), address) is False
    assert image.holds(BytesMemory([]), address) is None
    # At its ends there is less to compare.
    for end in (ENTRY, ENTRY + len(CODE) - 1):
        assert image.holds(BytesMemory([(ENTRY, CODE)]), end) is True


def test_it_is_no_user_space_and_no_user_space_is_it(tmp_path: Path) -> None:
    (image,) = open_extra(str(loader(tmp_path / "loader.elf"))).images
    space = AddressSpace([image.loaded])
    pcs = np.array([ENTRY + 1], np.uint64)
    assert space.resolve(pcs, Running.USER).reason.tolist() == [Reason.USER_SPACE]
    for running in (Running.UNKNOWN, Running.PRIVILEGED, Running.BARE):
        assert space.resolve(pcs, running).reason.tolist() == [Reason.RESOLVED]


LINES = st.sampled_from([
    b"Loading driver at 0x7E53000 EntryPoint=0x7E6D4A2 A.efi\n",
    b"Loading driver at 0xFFFFFFFFFFFFFFFF EntryPoint=0x1 B.efi\n",
    b"add-symbol-file /nowhere/C.dll 0xFFFFFFFFFFFFFFFF\n",
    b"add-symbol-file \xff\x1b 0x0\n", b"0000000000001000 T start\n", b"\x7fELF", b"\0",
])  # fmt: skip


@given(st.lists(LINES | st.binary(max_size=64), max_size=8).map(b"".join), st.booleans())
def test_any_bytes_are_images_or_an_error(data: bytes, placed: bool) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            found = open_extra(f"{file.name}@0x1000" if placed else file.name)
        except SymbolsError:
            return
    for image in found.images:
        assert 0 <= image.loaded.start < image.loaded.end <= 1 << 64
        assert image.loaded.name.isprintable()
    AddressSpace([image.loaded for image in found.images])
