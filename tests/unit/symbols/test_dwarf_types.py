"""The types of a kernel without BTF, beside what a compiler says of the same structures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from symbols.dwarf_types import types_of_debugging
from symbols.elf import Image
from symbols.errors import BtfError, ImageError

SOURCE = """
struct list_head { struct list_head *next, *prev; };
enum module_state { MODULE_STATE_LIVE, MODULE_STATE_GONE = 7 };
typedef unsigned int u32;
struct unknown;
union both { u32 number; char text[12]; };
struct module {
    enum module_state state;
    struct list_head list;
    const char name[56];
    struct unknown *elsewhere;
    u32 low : 3, high : 5;
    struct { long inner; volatile short deep[2][3]; };
    union both both;
    void (*init)(void);
    int last[];
};
struct module modules[1];
struct module *find_module(void) { return modules; }
int mod_sysfs_setup(struct module *module) { return module->state == MODULE_STATE_GONE; }
void _start(void) { mod_sysfs_setup(find_module()); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc is installed (apt-get install gcc)")
    path = tmp_path_factory.mktemp("dwarf") / "program"
    options = ("-g", "-nostdlib", "-static", "-fno-stack-protector", "-xc", "-")
    subprocess.run([compiler, *options, "-o", path], input=SOURCE.encode(), check=True)
    return path


@pytest.mark.parametrize(
    ("path", "offset", "size"),
    [
        ("state", 0, 4),
        ("list", 8, 16),
        ("list.prev", 16, 8),
        ("name", 24, 56),
        ("elsewhere", 80, 8),
        ("inner", 96, 8),
        ("deep", 104, 12),
        ("both.text", 120, 12),
        ("init", 136, 8),
        ("last", 144, 0),
    ],
)
def test_members_are_where_the_compiler_has_them(
    program: Path, path: str, offset: int, size: int
) -> None:
    types = types_of_debugging(Image.open(program))
    assert types is not None
    member = types.member("module", path)
    assert member is not None
    assert (member.offset, types.size_of(member)) == (offset, size)


def test_sizes_and_enumerators(program: Path) -> None:
    types = types_of_debugging(Image.open(program))
    assert types is not None
    assert types.size("module") == 144
    assert types.enum_value("MODULE_STATE_GONE") == 7
    high = types.member("module", "high")
    assert high is not None
    assert (high.bit_offset, high.bit_size) == (88 * 8 + 3, 5)
    assert types.member("module", "absent") is None


def test_a_file_without_debugging_information_has_none(program: Path, tmp_path: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("strip is not installed (apt-get install binutils)")
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "--strip-debug", "-o", stripped, program], check=True)
    assert types_of_debugging(Image.open(stripped)) is None


@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_damaged_file_is_refused_or_read(
    program: Path, tmp_path: Path, data: st.DataObject
) -> None:
    damaged = bytearray(program.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(64, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(damaged)
    try:
        types = types_of_debugging(Image.open(path))
        if types is not None:
            types.member("module", "list")
    except (BtfError, ImageError):
        pass


def test_a_section_longer_than_any_memory_is_damage(program: Path, tmp_path: Path) -> None:
    content = bytearray(program.read_bytes())
    with program.open("rb") as stream:
        file = ELFFile(stream)
        index = file.get_section_index(".debug_line")
        # sh_size of Elf64_Shdr, at 32 (gABI, section header).
        at = file["e_shoff"] + index * file["e_shentsize"] + 32
    content[at : at + 8] = (1 << 62).to_bytes(8, "little")
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises((BtfError, ImageError), match="damaged"):
        types_of_debugging(Image.open(path))
