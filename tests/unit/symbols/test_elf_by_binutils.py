"""What a compiler makes is read as nm, readelf and strip of binutils have it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from symbols.elf import Image
from symbols.errors import ImageError
from tests.unit.symbols.elf_files import symbols_of

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
