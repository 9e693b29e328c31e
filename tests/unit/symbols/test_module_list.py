from __future__ import annotations

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.errors import IntrospectionError
from symbols.introspection import loaded_modules
from symbols.kernel_space import kernel_space
from symbols.memory import BytesMemory, MemoryFault
from symbols.module_list import ModuleState, list_modules
from symbols.module_sections import module_build_id, module_sections
from symbols.module_symbols import loaded_image, module_symbols
from symbols.modules import Module
from symbols.space import ImageKind
from symbols.structures import Structures
from tests.unit.symbols.btf_blob import INT, Blob
from tests.unit.symbols.kernel_memory import (
    AREA,
    GENERATIONS,
    HEAD,
    KernelMemory,
    Mod,
    with_modules,
)

ZRAM = Mod(
    "zram",
    AREA + 0x10000,
    symbols=[
        ("zram_open", "t", AREA + 0x10040, 0x20),
        ("init_module", "t", AREA + 0x10080, 0x10),
        ("zram_init", "t", AREA + 0x10080, 0x10),
        ("label", "t", AREA + 0x100C0, 0),
        ("backends", "r", AREA + 0x12000, 8),
        ("elsewhere", "t", AREA + 0x20000, 8),
        ("zs_go", "t", AREA + 0x10F00, 0x1000),
        ("$x", "t", AREA + 0x10F00, 0),  # exported is only the other name
    ],
    sections=[(".text", AREA + 0x10000), (".data", AREA + 0x12000)],
    build_id=bytes(range(20)),
    exports=[(AREA + 0x10F00, "zs_go")],
)
VIRTIO = Mod("virtio", AREA + 0x30000, state=1)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_modules_are_listed_with_their_ranges(generation: str) -> None:
    structures = with_modules([ZRAM, VIRTIO], generation).structures()
    found = list_modules(structures, HEAD)
    assert found.complete
    assert [module.name for module in found.modules] == ["zram", "virtio"]
    assert [module.state for module in found.modules] == [ModuleState.LIVE, ModuleState.COMING]
    first = found.modules[0]
    if generation in {"5.4", "6.1"}:
        assert first.ranges == ((ZRAM.start, ZRAM.start + 0x3000),)
        assert first.module == Module("zram", ZRAM.start, 0x3000)
    else:
        data = ZRAM.start + 0x100000
        assert first.ranges == ((ZRAM.start, ZRAM.start + 0x1000), (data, data + 0x800))
        assert first.module == Module("zram", ZRAM.start, 0x1800)
    assert first.text == first.ranges[0]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_sections_build_id_and_symbols(generation: str) -> None:
    structures = with_modules([ZRAM, VIRTIO], generation).structures()
    zram, virtio = list_modules(structures, HEAD).modules
    assert module_sections(structures, zram.address) == dict(ZRAM.sections)
    assert module_sections(structures, virtio.address) == {}
    assert module_build_id(structures, zram.address) == bytes(range(20))
    assert module_build_id(structures, virtio.address) == b""
    symbols = module_symbols(structures, zram)
    assert symbols is not None
    listed = [
        (symbols.lines.names[i], chr(symbols.lines.kind[i]), int(symbols.lines.address[i]))
        for i in range(len(symbols.lines))
    ]
    assert listed == [
        (name, "T" if name == "zs_go" else letter, address)
        for name, letter, address, _ in ZRAM.symbols
    ]
    assert symbols.lines.owners == ["zram"]
    assert module_symbols(structures, virtio) is None


def test_functions_of_a_module_resolve() -> None:
    structures = with_modules([ZRAM, VIRTIO], "6.12").structures()
    zram, virtio = list_modules(structures, HEAD).modules
    image = loaded_image(zram, module_symbols(structures, zram), b"id")
    assert (image.kind, image.build_id) == (ImageKind.MODULE, b"id")
    assert image.table is not None
    names = [(s.name, s.start - AREA, s.end - AREA) for s in map(image.table.__getitem__, range(4))]
    assert names[0] == ("zram_open", 0x10040, 0x10060)
    assert names[1][1:] == (0x10080, 0x10090)
    assert names[2] == ("label", 0x100C0, 0x10F00)
    assert names[3] == ("zs_go", 0x10F00, 0x11000)  # never beyond the text
    space = kernel_space(
        modules=[zram.module, virtio.module],
        module_images={m.name: loaded_image(m, module_symbols(structures, m))
                       for m in (zram, virtio)},
    )  # fmt: skip
    resolved = space.resolve(np.array([AREA + 0x10045, AREA + 0x30004], np.uint64))
    assert [space.images[i].name for i in resolved.image] == ["zram", "virtio"]
    assert resolved.offset.tolist() == [5, 4]


def test_no_modules_is_an_empty_list() -> None:
    found = list_modules(with_modules([]).structures(), HEAD)
    assert (found.modules, found.complete) == ((), True)


def test_a_list_that_runs_in_a_circle_ends() -> None:
    kernel = with_modules([ZRAM, VIRTIO])
    places = [at for at, data in kernel.pieces.items() if len(data) == 256]
    struct.pack_into("<Q", kernel.pieces[places[1]], 8, places[0] + 8)
    found = list_modules(kernel.structures(), HEAD)
    assert [module.name for module in found.modules] == ["zram", "virtio"]
    assert not found.complete


def test_a_list_of_garbage_ends_where_it_begins() -> None:
    kernel = with_modules([ZRAM, VIRTIO])
    places = [at for at, data in kernel.pieces.items() if len(data) == 256]
    struct.pack_into("<I", kernel.pieces[places[1]], 0, 77)
    found = list_modules(kernel.structures(), HEAD)
    assert [module.name for module in found.modules] == ["zram"]
    assert not found.complete


def test_a_module_that_is_being_made_is_left_out() -> None:
    forming = Mod("new", AREA, state=3)
    found = list_modules(with_modules([forming, VIRTIO]).structures(), HEAD)
    assert [module.name for module in found.modules] == ["virtio"]
    assert found.complete
    assert not found.settled


@pytest.mark.parametrize(("state", "settled"), [(0, True), (1, False), (2, False)])
def test_a_list_is_settled_when_nothing_comes_or_goes(state: int, settled: bool) -> None:
    changing = Mod("new", AREA, state=state)
    found = list_modules(with_modules([changing]).structures(), HEAD)
    assert [module.name for module in found.modules] == ["new"]
    assert found.settled is settled


def test_types_without_modules_say_so() -> None:
    blob = Blob()
    blob.add(INT, "int", 4, 32)
    structures = Structures(BytesMemory([(HEAD, bytes(16))]), Btf.parse(blob.bytes()))
    with pytest.raises(IntrospectionError, match="no member list in module"):
        list_modules(structures, HEAD)


def test_an_unreadable_list_says_so() -> None:
    with pytest.raises(IntrospectionError, match="cannot be read"):
        list_modules(with_modules([]).structures(), HEAD + 0x1000)


@settings(max_examples=150)
@given(st.sampled_from(GENERATIONS), st.data())
def test_any_memory_ends_in_an_answer(generation: str, data: st.DataObject) -> None:
    kernel = with_modules([ZRAM, VIRTIO], generation)
    places = sorted(kernel.pieces)
    word = st.one_of(
        st.sampled_from([*places, *(place + 8 for place in places)]), st.integers(0, (1 << 64) - 1)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        piece = kernel.pieces[data.draw(st.sampled_from(places))]
        if len(piece) >= 8:
            at = data.draw(st.integers(0, len(piece) // 8 - 1)) * 8
            struct.pack_into("<Q", piece, at, data.draw(word))
    walk(kernel)


def test_symbols_that_are_out_of_sight_are_read_later() -> None:
    seen = with_modules([ZRAM], "6.12").structures()
    zram = list_modules(seen, HEAD).modules[0]
    kept = seen.at(zram.address, "module").number("kallsyms")
    table = seen.at(kept, "mod_kallsyms").number("symtab")

    class WithoutTable:
        """The same memory while no vcpu sees the table of symbols."""

        def read(self, address: int, size: int) -> bytes:
            if address <= table < address + size:
                raise MemoryFault(address, size)
            return seen.memory.read(address, size)

    addresses = {"modules": HEAD}.get
    first = loaded_modules(Structures(WithoutTable(), seen.btf), addresses)
    assert (first.complete, first.settled) == (True, False)
    assert first.images["zram"].table is None
    again = loaded_modules(seen, addresses, before=first)
    assert again.settled
    assert again.images["zram"].table is not None


def walk(kernel: KernelMemory) -> None:
    structures = kernel.structures()
    with contextlib.suppress(IntrospectionError, MemoryFault):
        for module in list_modules(structures, HEAD).modules:
            module_sections(structures, module.address)
            module_build_id(structures, module.address)
            kernel_space(
                modules=[module.module],
                module_images={
                    module.name: loaded_image(module, module_symbols(structures, module))
                },
            )
