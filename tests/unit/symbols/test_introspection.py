"""From memory alone, or a vmlinux and memory, to named functions of the kernel and its modules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from symbols.errors import IntrospectionError
from symbols.introspection import (
    IN_MEMORY,
    KnownKernel,
    all_symbols,
    kernel_symbols,
    kernel_types,
    loaded_modules,
)
from symbols.kallsyms import Kallsyms
from symbols.kallsyms_text import write_kallsyms
from symbols.kernel_space import kernel_space
from symbols.memory import BytesMemory, Memory
from symbols.module_files import ModuleFiles
from symbols.slide import Anchor
from symbols.structures import Structures
from tests.unit.symbols.elf_files import (
    ALLOC,
    EXECUTE,
    NOTE,
    REL,
    ElfFile,
    NothingReadable,
    Sec,
    Sym,
    note,
)
from tests.unit.symbols.kallsyms_tables import LAYOUTS, build
from tests.unit.symbols.kernel_memory import AREA, HEAD, Mod, types, with_modules

START = 0xFFFF_FFFF_9C80_0000
RODATA = START + (2 << 20)
TYPES = START + (6 << 20)
BUILD_ID = bytes(range(20))
ZRAM = Mod(
    "zram",
    AREA + 0x10000,
    symbols=[("zram_open", "t", AREA + 0x10010, 0x20)],
    sections=[(".text", AREA + 0x10000)],
    build_id=BUILD_ID,
)


def a_guest(layout: str = "6.6 x86", *, data_listed: bool = True) -> Memory:
    """A kernel with its table of symbols, its types and a module."""
    listed = [(START, "T", "_stext"), (START, "T", "_text")]
    listed += [(START + n * 64, "t", f"function_number_{n}") for n in range(1, 12_000)]
    if data_listed:
        listed += [(HEAD, "D", "modules"), (TYPES, "r", "__start_BTF")]
    blob, _ = build(sorted(listed), LAYOUTS[layout], RODATA)
    described = types("6.12")
    kernel = with_modules([ZRAM], "6.12")
    kernel.put(bytes(4096), START)
    kernel.put(blob + bytes(-len(blob) % 4096), RODATA)
    kernel.put(described, TYPES)
    return kernel.structures().memory


def known_by_symbols(memory: Memory) -> KnownKernel:
    _, lines = kernel_symbols(memory, KnownKernel(architecture="x86_64"))
    return KnownKernel(kallsyms=Kallsyms.of(lines, path=IN_MEMORY), architecture="x86_64")


def test_a_guest_without_any_file_is_named() -> None:
    memory = a_guest()
    known = known_by_symbols(memory)
    structures = Structures(memory, kernel_types(memory, known, known.address_of))
    modules = loaded_modules(structures, known.address_of)
    assert [module.name for module in modules.listed] == ["zram"]
    space = kernel_space(
        kallsyms=known.kallsyms,
        modules=[module.module for module in modules.listed],
        module_images=modules.images,
    )
    named = [space.symbol_at(START + 64 * 7 + 3), space.symbol_at(AREA + 0x10014)]
    assert [at and (at.image.name, at.symbol.name) for at in named] == [
        ("[kernel]", "function_number_7"),
        ("zram", "zram_open"),
    ]
    _, lines = kernel_symbols(memory, known)
    text = write_kallsyms(all_symbols(lines, modules))
    assert text.count(b"\n") == 2 + 11_999 + 2 + 1
    assert text.endswith(b"ffffffffc0010010 t zram_open\t[zram]\n")


def test_a_vector_tells_where_to_search() -> None:
    memory = a_guest("6.12 arm64")
    known = KnownKernel(architecture="aarch64", anchor=Anchor((), START + 0x800))
    assert len(kernel_symbols(memory, known)[1]) == 12_003
    with pytest.raises(IntrospectionError, match="nothing tells"):
        kernel_symbols(memory, KnownKernel(architecture="aarch64"))


def test_a_kernel_that_lists_no_data_has_functions_only() -> None:
    memory = a_guest(data_listed=False)
    known = known_by_symbols(memory)
    with pytest.raises(IntrospectionError, match="CONFIG_DEBUG_INFO_BTF"):
        kernel_types(memory, known, known.address_of)
    structures = with_modules([ZRAM]).structures()
    with pytest.raises(IntrospectionError, match="not among its symbols"):
        loaded_modules(structures, known.address_of)


def test_memory_that_cannot_be_read_has_no_kernel() -> None:
    with pytest.raises(IntrospectionError, match="no kernel"):
        kernel_symbols(NothingReadable(), KnownKernel(architecture="x86_64"))
    empty = BytesMemory([(START, bytes(8 << 20))])
    with pytest.raises(IntrospectionError, match="no table of symbols"):
        kernel_symbols(empty, KnownKernel(architecture="x86_64"))


def test_per_cpu_symbols_do_not_slide() -> None:
    text = b"0000000000001000 A cpu_number\nffffffff81000000 T _stext\nffffffff81000040 t f\n"
    known = KnownKernel(kallsyms=Kallsyms.parse(text), slide=0x1000000)
    assert known.address_of("cpu_number") == 0x1000
    assert known.address_of("f") == 0xFFFFFFFF82000040
    assert known.address_of("g") is None
    assert KnownKernel().address_of("f") is None


def test_a_file_of_the_same_build_is_preferred(tmp_path: Path) -> None:
    for name, build_id in (("zram.ko", BUILD_ID), ("other.ko", b"\x01" * 20)):
        (tmp_path / name).write_bytes(
            ElfFile(
                [
                    Sec(".text", bytes(0x100), flags=ALLOC | EXECUTE),
                    Sec(".note.gnu.build-id", note(b"GNU\0", 3, build_id), kind=NOTE),
                ],
                [Sym("zram_by_file", 0x10, 0x20)],
                type=REL,
            ).build()
        )
    memory = a_guest()
    known = known_by_symbols(memory)
    structures = Structures(memory, kernel_types(memory, known, known.address_of))
    images = loaded_modules(structures, known.address_of, ModuleFiles([tmp_path])).images
    table = images["zram"].table
    assert table is not None
    assert table[0].name == "zram_by_file"
    assert table.lookup(np.array([AREA + 0x10010], np.uint64)).tolist() == [0]
    assert images["zram"].path.endswith("zram.ko")
