"""Where modules keep things, told from themselves: ranges by kind, and shuffled structures."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.introspection import KnownKernel, kernel_types, loaded_modules
from symbols.kallsyms import Kallsyms
from symbols.memory import Memory, MemoryFault
from symbols.module_list import ModuleState
from symbols.module_ring import module_ring
from symbols.module_types import types_of_modules
from symbols.shuffled_ring import shuffled_ring
from symbols.structures import Structures
from symbols.unlisted import unlisted_data
from tests.unit.symbols.written_memory import WrittenMemory

TEXT = 0xFFFF_FFFF_9A00_0000
DATA = TEXT + 0x40_0000
HEAD = DATA + 0xFFF8  # its two words lie in two chunks
AREA = 0xFFFF_FFFF_C012_0000
NAMED = ("zram", "zsmalloc", "zstd_compress", "virtio-ring", "lzo")
#: Pages of each kind of content: text, data, read-only, and read-only once begun.
PAGES = ((3, 2, 1, 1), (5, 3, 2, 0), (9, 2, 0, 1), (1, 2, 1, 0), (0, 2, 1, 0))

#: Bytes of each member of `struct module`, in the usual order; between them lies what else it has.
SIZES = {
    "state": 4, "list": 16, "name": 56, "others": 320, "mem": 0, "arch": 64, "kallsyms": 8,
    "core_kallsyms": 32, "more": 200,
}  # fmt: skip


@dataclass(frozen=True)
class Build:
    """How a kernel was built.

    Attributes:
        step, size: of a `struct module_memory`, and where in it the size is.
        order: of the members.
        data: which byte comes first.
    """

    step: int = 72
    size: int = 8
    order: tuple[str, ...] = tuple(SIZES)
    data: str = "<"

    def places(self) -> dict[str, int]:
        found, at = {}, 0
        for member in self.order:
            found[member] = at
            at += SIZES[member] if member != "mem" else 7 * self.step
            at += -at % 8
        return found | {"end": at}


def _noise(noise: random.Random, words: int, order: str) -> bytes:
    """What structures are full of: numbers, and addresses of what was allocated."""
    kinds = (0, 0, noise.randrange(0x30), 0xFFFF_8880_0000_0000 + 64 * noise.randrange(1 << 24))
    return struct.pack(f"{order}{words}Q", *noise.choices(kinds, k=words))


class Loaded(WrittenMemory):
    """Modules in memory, and the list of them; changed before it is looked at."""

    def __init__(self, build: Build, names: tuple[str, ...] = NAMED, seed: int = 1) -> None:
        super().__init__(build.data)
        self.build, self.names = build, names
        self.modules: list[int] = []
        self.parts: list[list[tuple[int, int]]] = []
        noise = random.Random(seed)
        self.put(TEXT, bytes(0x2_0000))
        self.put(DATA, bytes(0x2_0000))
        at = AREA
        for i in range(len(self.names)):
            ranges = []
            for pages in PAGES[i % len(PAGES)]:
                ranges.append((at, 4096 * pages) if pages else (0, 0))
                if pages:
                    self.put(at, _noise(noise, 512 * pages, self.order))
                    at += 4096 * (pages + 1)
            self.parts.append(ranges)
            self.modules.append(ranges[1][0] + 64 * noise.randrange(1, 20))
        places = self.build.places()
        links = [HEAD, *(module + places["list"] for module in self.modules), HEAD]
        for i, link in enumerate(links[:-1]):
            self.words(link, links[i + 1], links[i - 1] if i else links[-2])
        for i, (module, name) in enumerate(zip(self.modules, self.names, strict=True)):
            self._fill(i, module, name, places, noise)

    def _fill(
        self, number: int, module: int, name: str, places: Mapping[str, int], noise: random.Random
    ) -> None:
        order = self.order
        self.write(module + places["state"], bytes(4))
        self.write(module + places["name"], name.encode().ljust(56, b"\0"))
        tree = _noise(noise, 7 * self.build.step // 8, order)
        self.write(module + places["mem"], tree)
        for kind, (start, size) in enumerate([*self.parts[number], *((0, 0),) * 3]):
            part = module + places["mem"] + kind * self.build.step
            self.words(part, start)
            word = part + self.build.size // 8 * 8
            self.words(word, 0)
            if word == part:
                raise ValueError("the size lies in the address")
            self.write(part + self.build.size, struct.pack(order + "I", size))
        text, data = self.parts[number][0][0], self.parts[number][1]
        table = data[0] + data[1] - 0x400
        self.words(module + places["kallsyms"], module + places["core_kallsyms"])
        self.words(module + places["core_kallsyms"], table, 0, table + 48, table + 0x200)
        self.write(module + places["core_kallsyms"] + 8, struct.pack(order + "I", 2))
        symbol = struct.pack(order + "IBBHQQ", 1, 2, 0, 1, text + 0x100, 0x40)
        self.write(table, bytes(24) + symbol + f"\0function_{number}\0".encode())
        self.write(table + 0x200, b"?t")

    def check(self, memory: Memory, kernel: KnownKernel) -> None:
        """The ranges, the sizes and the functions of all modules that have text are found."""
        types = kernel_types(memory, kernel, kernel.address_of)
        found = loaded_modules(Structures(memory, types), kernel.address_of)
        assert found.complete
        expected = {
            name: [(start, start + size) for start, size in parts if size]
            for name, parts in zip(self.names, self.parts, strict=True)
            if parts[0][0]
        }
        assert {one.name: list(one.ranges) for one in found.listed} == expected
        assert {one.state for one in found.listed} == {ModuleState.LIVE}
        for number, name in enumerate(self.names):
            if name in expected:
                table = found.images[name].table
                assert table is not None
                assert [(one.name, one.start) for one in (table[0],)] == [
                    (f"function_{number}", expected[name][0][0] + 0x100)
                ]


def known() -> Kallsyms:
    lines = [f"{TEXT + 64 * n:x} t function_number_{n}\n" for n in range(300)]
    return Kallsyms.parse("".join(lines).encode())


def listing() -> KnownKernel:
    return KnownKernel(kallsyms=known().with_data({"modules": HEAD}))


#: As from 6.4 on, without and with a tree of addresses; in 6.13; as it is now.
BUILDS = [Build(16, 8), Build(72, 8), Build(24, 20), Build(80, 20), Build(16, 12), Build(72, 12)]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: f"{build.step}-{build.size}")
@pytest.mark.parametrize("order", ["<", ">"])
def test_ranges_by_kind_are_found(build: Build, order: str) -> None:
    loaded = Loaded(Build(build.step, build.size, data=order))
    loaded.check(loaded.memory, listing())


def test_a_list_that_no_symbol_tells_is_found_in_either_form() -> None:
    usual = Loaded(Build())
    shuffled = Loaded(Build(order=tuple(reversed(SIZES))))
    for loaded in (usual, shuffled):
        found = unlisted_data(loaded.memory, known())
        assert found == {"modules": HEAD}
        loaded.check(loaded.memory, KnownKernel(kallsyms=known().with_data(found)))
    assert module_ring(usual.memory, HEAD) is not None
    assert module_ring(shuffled.memory, HEAD) is None


@settings(max_examples=25, deadline=None)
@given(
    st.permutations(tuple(SIZES)),
    st.sampled_from(BUILDS),
    st.integers(2, len(NAMED)),
    st.integers(0, 1 << 16),
)
def test_shuffled_structures_are_found(
    order: list[str], build: Build, count: int, seed: int
) -> None:
    shuffled = Build(build.step, build.size, tuple(order))
    loaded = Loaded(shuffled, NAMED[:count], seed)
    loaded.check(loaded.memory, listing())


def test_ranges_that_overlap_are_none() -> None:
    loaded = Loaded(Build())
    places = loaded.build.places()
    loaded.words(loaded.modules[1] + places["mem"], loaded.parts[0][1][0])
    assert types_of_modules(loaded.memory, HEAD) is None


def test_a_letter_before_the_names_is_none_of_theirs() -> None:
    order = ("state", "list", "others", "name", "mem", "arch", "core_kallsyms", "kallsyms", "more")
    loaded = Loaded(Build(order=order, data=">"))
    loaded.check(loaded.memory, listing())
    for module in loaded.modules:
        loaded.write(module + loaded.build.places()["name"] - 1, b"x")
    assert types_of_modules(loaded.memory, HEAD) is None


def test_two_places_for_the_name_are_none() -> None:
    loaded = Loaded(Build(order=tuple(reversed(SIZES))))
    places = loaded.build.places()
    assert shuffled_ring(loaded.memory, HEAD) is not None
    for module, name in zip(loaded.modules, NAMED, strict=True):
        loaded.write(module + places["more"] + 64, name.encode().ljust(56, b"\0"))
    assert shuffled_ring(loaded.memory, HEAD) is None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_any_memory_ends_in_an_answer(data: st.DataObject) -> None:
    order = data.draw(st.permutations(tuple(SIZES)))
    loaded = Loaded(Build(order=tuple(order)), NAMED[: data.draw(st.integers(1, 3))])
    places = loaded.build.places()
    links = [HEAD, *(module + places["list"] for module in loaded.modules)]
    starts = [*links, *loaded.modules, *(module + places["mem"] for module in loaded.modules)]
    word = st.one_of(st.sampled_from(starts), st.integers(0, (1 << 64) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.sampled_from(starts)) + 8 * data.draw(st.integers(0, 20))
        loaded.words(at, data.draw(word))
    types = types_of_modules(loaded.memory, HEAD)
    if types is not None:
        loaded_modules(Structures(loaded.memory, types), listing().address_of)


def test_a_ring_without_an_end_is_left() -> None:
    class Endless:
        """Memory in which every link leads to the next one."""

        reads = 0

        def read(self, address: int, size: int) -> bytes:
            self.reads += 1
            if size != 16:
                raise MemoryFault(address, size)
            return struct.pack("<2Q", address + 64, address - 64)

    memory = Endless()
    assert shuffled_ring(memory, HEAD) is None
    assert memory.reads < 10_000
