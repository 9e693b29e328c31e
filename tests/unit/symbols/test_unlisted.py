"""A kernel whose table lists functions alone: its data is found by what it looks like."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.introspection import KnownKernel, kernel_types, loaded_modules
from symbols.kallsyms import Kallsyms
from symbols.memory import BytesMemory, Memory, gather, with_holes
from symbols.module_ring import module_ring
from symbols.module_types import types_of_modules
from symbols.modules import Module
from symbols.structures import Structures
from symbols.unlisted import unlisted_data
from tests.unit.symbols.elf_files import NothingReadable
from tests.unit.symbols.kernel_memory import types
from tests.unit.symbols.written_memory import WrittenMemory

TEXT = 0xFFFF_8000_0801_0000
BANNER, TYPES, DATA = TEXT + 0x8_4321, TEXT + 0x9_FFF5, TEXT + 0x50_0000
HEAD = DATA + 0xFFF8  # its two words lie in two chunks
AREA = 0xFFFF_8000_0200_0000
#: Of a module: all of it, and where in it its structure, its symbols and their names are.
CORE, STRUCTURE, SYMTAB, NAMES, LETTERS = 0x6000, 0x4040, 0x2000, 0x2030, 0x3800
NAMED = ("nf_tables", "zram", "virtio-net")


class Kernel(WrittenMemory):
    """What lies behind a kernel's text, and its modules; changed before it is looked at."""

    def __init__(self, order: str = "<", names: tuple[str, ...] = NAMED) -> None:
        super().__init__(order)
        self.bases = [AREA + 0x10000 * i for i in range(len(names))]
        self.modules = [base + STRUCTURE for base in self.bases]
        self.put(TEXT, bytes(0x10000))
        self.put(TEXT + 0x8_0000, bytes(0x8_0000))  # read-only data; a hole follows
        self.write(BANNER - 400, b"%s version %s\n\0Linux version %s\0")
        self.write(BANNER, b"Linux version 6.1.0-9-test (us@here) #1 SMP\n\0")
        self.put(DATA, bytes(0x2_0000))
        for at, (base, name) in enumerate(zip(self.bases, names, strict=True)):
            self.put(base, bytes(CORE))
            self._fill(at, base, name)
        ring = [HEAD, *(module + 8 for module in self.modules), HEAD]
        for at, link in enumerate(ring[:-1]):
            self.words(link, ring[at + 1], ring[at - 1] if at else ring[-2])

    def _fill(self, number: int, base: int, name: str) -> None:
        module = base + STRUCTURE
        self.write(module + 24, name.encode())
        self.words(module + 320, base)
        self.write(module + 328, struct.pack(self.order + "4I", CORE, 0x2000, 0x3000, 0x4000))
        self.words(module + 552, module + 560, base + SYMTAB)
        self.write(module + 568, struct.pack(self.order + "I", 2))
        self.words(module + 576, base + NAMES, base + LETTERS)
        function = struct.pack(self.order + "IBBHQQ", 1, 2, 0, 1, base + 0x100, 0x40)
        self.write(base + SYMTAB + 24, function)
        self.write(base + NAMES, f"\0function_{number}\0".encode())
        self.write(base + LETTERS, b"?t")


def known() -> Kallsyms:
    lines = [f"{TEXT + 64 * n:x} t function_number_{n}\n" for n in range(300)]
    return Kallsyms.parse("".join(lines).encode())


@pytest.mark.parametrize("order", ["<", ">"])
def test_banner_types_and_modules_are_found(order: str) -> None:
    kernel = Kernel(order)
    kernel.write(TYPES, types("6.1"))
    found = unlisted_data(kernel.memory, known())
    assert found == {"linux_banner": BANNER, "__start_BTF": TYPES, "modules": HEAD}


class Watched:
    """A memory that remembers the lowest address that was read, and how often it was asked."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.lowest = 1 << 64
        self.reads = 0

    def read(self, address: int, size: int) -> bytes:
        self.lowest = min(self.lowest, address)
        self.reads += 1
        return self._memory.read(address, size)

    def gather(self, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
        self.reads += 1
        return gather(self._memory, spans)


@pytest.mark.parametrize("chunks_behind_the_banner", [0, 1])
def test_what_lies_before_the_table_is_searched_only_for_what_is_missing(
    chunks_behind_the_banner: int,
) -> None:
    kernel = Kernel()
    kernel.write(TYPES, types("6.1"))
    memory = Watched(kernel.memory)
    table = BANNER + 192 + 0x1_0000 * chunks_behind_the_banner
    found = unlisted_data(memory, known(), table)
    assert found == {"linux_banner": BANNER, "__start_BTF": TYPES, "modules": HEAD}
    assert (memory.lowest < BANNER - 0x1_0000) == (chunks_behind_the_banner > 0)


def test_modules_that_come_later_are_searched_for_behind_the_types() -> None:
    kernel = Kernel()
    kernel.write(TYPES, types("6.1"))
    memory = Watched(kernel.memory)
    before = known().with_data({"linux_banner": BANNER, "__start_BTF": TYPES})
    assert unlisted_data(memory, before) == {"modules": HEAD}
    assert memory.lowest > BANNER


def test_a_table_that_lies_elsewhere_does_not_lengthen_the_search() -> None:
    kernel = Kernel()
    kernel.write(BANNER, bytes(64))
    memory = Watched(kernel.memory)
    assert unlisted_data(memory, known(), (1 << 64) - 1) == {"modules": HEAD}
    assert memory.reads < 100


def test_a_hole_is_asked_about_once() -> None:
    memory = Watched(Kernel().memory)
    assert unlisted_data(memory, known())["modules"] == HEAD
    assert memory.reads < 40  # the holes have 71 chunks, and 1024 pages


def test_types_are_passed_over() -> None:
    kernel = Kernel()
    kernel.write(BANNER, bytes(64))
    described = bytearray(types("6.1"))
    # Strings that go on for three chunks, and look like a banner somewhere.
    longer = bytes(0x2_0000) + b"Linux version 6.1.0-9-test (us@here) #1\n\0" + bytes(0x1_0000)
    (size,) = struct.unpack_from("<I", described, 20)
    struct.pack_into("<I", described, 20, size + len(longer))
    kernel.write(TYPES, bytes(described) + longer)
    assert unlisted_data(kernel.memory, known()) == {"__start_BTF": TYPES, "modules": HEAD}


def test_a_table_that_lists_data_is_believed() -> None:
    listed = known().with_data({"linux_banner": BANNER})
    assert listed.address_of("linux_banner") == BANNER
    assert listed.address_of("function_number_7") == TEXT + 64 * 7
    assert unlisted_data(NothingReadable(), listed) == {}


def test_a_guest_that_cannot_be_read_has_nothing() -> None:
    assert unlisted_data(NothingReadable(), known()) == {}


def _without_modules(kernel: Kernel) -> None:
    kernel.words(HEAD, HEAD, HEAD)


def _of_something_else(kernel: Kernel) -> None:
    kernel.write(kernel.modules[1] + 24, b"\x01\x02\x03\x04")


def _without_a_name(kernel: Kernel) -> None:
    kernel.write(kernel.modules[0] + 24, bytes(56))


def _in_no_state(kernel: Kernel) -> None:
    kernel.write(kernel.modules[2], b"\x07")


def _linked_in_one_direction(kernel: Kernel) -> None:
    kernel.words(kernel.modules[1] + 16, kernel.modules[1] + 8)


def _in_a_circle(kernel: Kernel) -> None:
    kernel.words(kernel.modules[1] + 8, kernel.modules[1] + 8)


def _into_nothing(kernel: Kernel) -> None:
    kernel.words(kernel.modules[1] + 8, AREA - 0x1000 + 8)


def _with_another_end(kernel: Kernel) -> None:
    kernel.words(HEAD + 8, kernel.modules[0] + 8)


@pytest.mark.parametrize(
    "damage",
    [
        _without_modules, _of_something_else, _without_a_name,
        _linked_in_one_direction, _in_a_circle, _into_nothing, _with_another_end,
    ],
)  # fmt: skip
def test_a_list_is_not_taken_for_one_of_modules(damage: Callable[[Kernel], None]) -> None:
    kernel = Kernel()
    damage(kernel)
    assert unlisted_data(kernel.memory, known()) == {"linux_banner": BANNER}
    assert module_ring(kernel.memory, HEAD) is None
    assert types_of_modules(kernel.memory, HEAD) is None


def test_modules_in_a_state_that_no_kernel_has_are_told_by_links_and_names_alone() -> None:
    kernel = Kernel()
    _in_no_state(kernel)
    assert module_ring(kernel.memory, HEAD) is None
    # They have to be where nothing else is, or the head of their list has to be known.
    assert unlisted_data(kernel.memory, known()) == {"linux_banner": BANNER}
    assert types_of_modules(kernel.memory, HEAD) is not None


@pytest.mark.parametrize("order", ["<", ">"])
def test_without_types_modules_tell_where_they_keep_things(order: str) -> None:
    memory = Kernel(order).memory
    kallsyms = known()
    kernel = KnownKernel(kallsyms=kallsyms.with_data(unlisted_data(memory, kallsyms)))
    described = kernel_types(memory, kernel, kernel.address_of)
    assert described.little_endian == (order == "<")
    found = loaded_modules(Structures(memory, described), kernel.address_of)
    assert found.settled
    assert [module.module for module in found.listed] == [
        Module(name, AREA + 0x10000 * i, CORE) for i, name in enumerate(NAMED)
    ]
    functions = {name: image.table for name, image in found.images.items()}
    for i, table in enumerate(functions.values()):
        assert table is not None
        assert (table[0].name, table[0].start) == (f"function_{i}", AREA + 0x10000 * i + 0x100)


def test_a_kernel_without_letters_for_symbols_has_their_types() -> None:
    kernel = Kernel()
    for module in kernel.modules:
        kernel.words(module + 584, 0)
    described = types_of_modules(kernel.memory, HEAD)
    assert described is not None
    assert described.member("mod_kallsyms", "strtab") is not None
    assert described.member("mod_kallsyms", "typetab") is None


def test_ranges_that_two_members_could_be_are_none() -> None:
    kernel = Kernel()
    for module, base in zip(kernel.modules, kernel.bases, strict=True):
        kernel.words(module + 400, base)
        kernel.write(module + 408, struct.pack("<4I", CORE, 0x2000, 0x3000, 0x4000))
    assert types_of_modules(kernel.memory, HEAD) is None


@settings(max_examples=100)
@given(st.data())
def test_any_memory_ends_in_an_answer(data: st.DataObject) -> None:
    kernel = Kernel()
    places = [HEAD, *kernel.modules, *(module + 8 for module in kernel.modules)]
    word = st.one_of(st.sampled_from(places), st.integers(0, (1 << 64) - 1))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(places)) + 8 * data.draw(st.integers(0, 75))
        kernel.words(at, data.draw(word))
    ring = module_ring(kernel.memory, HEAD)
    if ring is not None:
        assert set(ring.modules) <= set(kernel.modules)
    types_of_modules(kernel.memory, HEAD)


def test_holes_are_zeros() -> None:
    memory = BytesMemory([(0x1000, b"a" * 4096), (0x3000, b"b" * 4096)])
    data = with_holes(memory, 0x1000, 0x4000)
    assert data == b"a" * 4096 + bytes(4096) + b"b" * 4096 + bytes(4096)
    assert with_holes(memory, 0x2000, 0x2000) == b""
    assert with_holes(memory, 0x3000, 0x1000) == b"b" * 4096
