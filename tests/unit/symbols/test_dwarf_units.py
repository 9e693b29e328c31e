"""Which units have the code at an address, of files with an index of that and without."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from symbols.dwarf_units import units_at
from symbols.elf import Image

SOURCES = {
    "one.c": "int first(int a) { return a + 1; } int second(int a) { return a - 1; }",
    "two.c": "int third(int a) { return a * 3; }",
    "three.c": "int first(int), third(int); void _start(void) { third(first(4)); }",
}
EVERYWHERE = {"first": "one.c", "second": "one.c", "third": "two.c", "_start": "three.c"}


@pytest.fixture(
    params=[
        ("gcc", "-gdwarf-4"),
        ("gcc", "-gdwarf-5"),
        # Its units have lists of ranges: each function is a section.
        ("gcc", "-gdwarf-4", "-ffunction-sections"),
        ("gcc", "-gdwarf-5", "-ffunction-sections"),
        ("clang-16", "-gdwarf-5"),
        ("clang-16", "-gdwarf-5", "-ffunction-sections"),
    ],
    ids=" ".join,
)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    compiler, *options = request.param
    for tool in (compiler, "objcopy"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt-get install {compiler} binutils)")
    for name, text in SOURCES.items():
        (tmp_path / name).write_text(text)
    fixed = ("-nostdlib", "-static", "-fno-stack-protector", "-o", "program")
    subprocess.run([compiler, *fixed, *options, *SOURCES], cwd=tmp_path, check=True)
    return tmp_path / "program"


def names_at(path: Path, addresses: list[int]) -> list[str]:
    with path.open("rb") as stream:
        dwarf: Any = ELFFile(stream).get_dwarf_info()
        units = units_at(dwarf, addresses)
        return [unit.get_top_DIE().attributes["DW_AT_name"].value.decode() for unit in units]


def without_index(path: Path) -> Path:
    bare = path.with_name("bare")
    subprocess.run(["objcopy", "-R", ".debug_aranges", path, bare], check=True)
    return bare


@pytest.mark.parametrize("indexed", [True, False])
def test_each_function_is_in_the_unit_of_its_source(program: Path, indexed: bool) -> None:
    path = program if indexed else without_index(program)
    image = Image.open(path)
    for function, source in EVERYWHERE.items():
        address = image.address_of(function)
        assert address is not None
        assert names_at(path, [address]) == [source]


@pytest.mark.parametrize("indexed", [True, False])
def test_each_unit_is_told_once_and_an_address_of_none_is_left_out(
    program: Path, indexed: bool
) -> None:
    path = program if indexed else without_index(program)
    image = Image.open(path)
    addresses = [image.address_of(name) for name in ("third", "second", "first")]
    known = [one for one in addresses if one is not None]
    assert names_at(path, [*known, 8, 2**64 - 1]) == ["one.c", "two.c"]
    assert names_at(path, [8]) == []
