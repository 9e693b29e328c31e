"""The debug files of a firmware's modules, by name, by their first instruction, by maps."""

from __future__ import annotations

from pathlib import Path

import pytest

from symbols.build_folder import BuildFolder, debug_file
from symbols.edk2_log import FirmwareModule
from symbols.errors import ImageError
from symbols.extra_images import open_extras
from tests.unit.symbols.elf_files import ALLOC, EXECUTE, ElfFile, Sec, Sym

TEXT = 0x240
BASE = 0x1EFE_2000
CODE = bytes(range(1, 256)) * 8


def built(path: Path, entry: int = 0x300) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    ElfFile(
        [Sec(".text", CODE, TEXT, flags=ALLOC | EXECUTE)],
        [Sym("first", TEXT, 0xC0), Sym("_ModuleEntryPoint", entry, 0x40)],
        entry=entry,
    ).write(path)
    return path


def found(module: FirmwareModule, *folders: Path) -> tuple[str, int] | None:
    file = debug_file(module, [BuildFolder(folder) for folder in folders])
    return (file[0].path, file[1]) if file is not None else None


def test_a_module_by_its_name(tmp_path: Path) -> None:
    near = built(tmp_path / "X64" / "Shell.debug")
    built(tmp_path / "X64" / "ShellPkg" / "Shell" / "DEBUG" / "Shell.debug")
    shell = FirmwareModule("Shell", BASE, BASE + 0x300)
    assert found(shell, tmp_path) == (str(near), BASE)
    assert found(FirmwareModule("Other", BASE, BASE + 0x300), tmp_path) is None
    assert found(shell) is None


def test_of_two_of_one_name_the_one_that_begins_there(tmp_path: Path) -> None:
    """OVMF builds CpuDxe twice, for one processor and for many."""
    built(tmp_path / "a" / "CpuDxe.debug", entry=0x280)
    right = built(tmp_path / "b" / "CpuDxe.debug", entry=0x300)
    assert found(FirmwareModule("CpuDxe", BASE, BASE + 0x300), tmp_path) == (str(right), BASE)


def test_the_headers_of_a_te_image_are_cut(tmp_path: Path) -> None:
    path = built(tmp_path / "SecMain.debug")
    cut = 0x1B8
    module = FirmwareModule("SecMain", BASE + cut, BASE + 0x300)
    assert found(module, tmp_path) == (str(path), BASE)


def test_a_file_of_another_build_is_none(tmp_path: Path) -> None:
    built(tmp_path / "Shell.debug")
    for entry in (BASE + 0xB0, BASE + 0x4000):
        assert found(FirmwareModule("Shell", BASE, entry), tmp_path) is None


def test_where_the_firmware_says_that_its_text_is(tmp_path: Path) -> None:
    path = built(tmp_path / "DEBUG" / "Shell.debug")
    module = FirmwareModule("Shell", text=BASE + TEXT, path=str(tmp_path / "DEBUG" / "Shell.dll"))
    assert found(module) == (str(path), BASE)


def test_what_runs_in_flash_needs_no_log(tmp_path: Path) -> None:
    built(tmp_path / "X64" / "SecMain.debug")
    (tmp_path / "FV").mkdir()
    (tmp_path / "FV" / "SECFV.Fv.map").write_text(
        "EFI_FV_TOTAL_SIZE = 0x34000\n\n"
        "SecMain (Fixed Flash Address, BaseAddress=0x00fffcc094, EntryPoint=0x00fffcc394, "
        "Type=PE)\n(GUID=DF1CCEF6-F301-4A63-9661-FC6030DCC880 .textbaseaddress=0x00fffcc2d4)\n"
        "Missing (Fixed Flash Address, BaseAddress=0x00fffe0000, EntryPoint=0x00fffe0394, Type=TE)"
    )
    (image,) = open_extras([str(tmp_path)]).images
    assert (image.loaded.name, image.loaded.start) == ("SecMain", 0xFFFC_C094 + TEXT)
    assert image.code is not None
    assert image.code.read(image.loaded.start, 4) == CODE[:4]


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no debug files of a firmware"):
        open_extras([str(tmp_path)])
