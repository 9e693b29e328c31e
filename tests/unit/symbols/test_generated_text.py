"""BPF programs, trampolines and kprobes from a kernel's lists of them."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from symbols.btf import Btf
from symbols.generated_text import generated_text, program_memory
from symbols.kernel_space import kernel_space
from symbols.memory import BytesMemory
from symbols.space import ImageKind, Reason
from symbols.structures import Structures
from symbols.table import SymbolTable
from tests.unit.symbols.btf_blob import ARRAY, INT, POINTER, Blob

AREA = 0xFFFF_FFFF_C000_0000
PACK = 2 << 20
HEAP = 0xFFFF_8880_0000_0000
PROGRAMS, TRAMPOLINES, SLOTS, PACKS = HEAP, HEAP + 0x10, HEAP + 0x100, HEAP + 0x180
ADDRESSES = {
    "bpf_kallsyms": PROGRAMS,
    "ftrace_ops_trampoline_list": TRAMPOLINES,
    "kprobe_optinsn_slots": SLOTS,
    "pack_list": PACKS,
}


def types(*, without: str = "") -> Btf:
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    u64 = blob.add(INT, "unsigned long", 8, 64)
    char = blob.add(INT, "char", 1, 8)
    pointer = blob.add(POINTER, "", 0)
    name = blob.add(ARRAY, "", 0, char, u32, 32)
    head = blob.struct("list_head", 16, ("next", pointer, 0), ("prev", pointer, 64))
    structures: dict[str, tuple[int, list[tuple[str, int, int]]]] = {
        "bpf_ksym": (72, [("start", u64, 0), ("end", u64, 64), ("name", name, 128),
                          ("lnode", head, 384)]),
        "ftrace_ops": (48, [("list", head, 64), ("trampoline", u64, 192),
                            ("trampoline_size", u64, 256)]),
        "bpf_prog_pack": (32, [("list", head, 0), ("ptr", pointer, 128)]),
        "kprobe_insn_cache": (48, [("sym", pointer, 64), ("pages", head, 128)]),
        "kprobe_insn_page": (32, [("list", head, 0), ("insns", pointer, 128)]),
    }  # fmt: skip
    for title, (size, members) in structures.items():
        if title != without:
            blob.struct(title, size, *members)
    return Btf.parse(blob.bytes())


class Heap:
    """Kernel memory that grows."""

    def __init__(self) -> None:
        self.data = bytearray(0x4000)
        self._free = 0x200  # behind the heads

    def put(self, data: bytes) -> int:
        at, self._free = self._free, self._free + -(-len(data) // 16) * 16
        self.data[at : at + len(data)] = data
        return HEAP + at

    def ring(self, head: int, members: list[int]) -> None:
        """Link list heads, the first of them `head`."""
        for here, following in zip([head, *members], [*members, head], strict=True):
            struct.pack_into("<Q", self.data, here - HEAP, following)

    def structures(self, btf: Btf | None = None) -> Structures:
        return Structures(BytesMemory([(HEAP, bytes(self.data))]), btf or types())


def program(name: bytes, start: int, end: int) -> bytes:
    return struct.pack("<QQ32s", start, end, name) + bytes(24)


def a_kernel() -> Heap:
    heap = Heap()
    programs = [
        heap.put(program(b"bpf_prog_0123456789abcdef_probe", AREA + 0x1000, AREA + 0x10C0)),
        heap.put(program(b"bpf_trampoline_42_1", AREA + 0x40_0000, AREA + 0x40_0080)),
    ]
    heap.ring(PROGRAMS, [at + 48 for at in programs])
    ops = heap.put(bytes(24) + struct.pack("<QQ", AREA + 0x9000, 0x180))
    heap.ring(TRAMPOLINES, [ops + 8])
    page = heap.put(bytes(16) + struct.pack("<Q", AREA + 0xA000))
    name = heap.put(b"kprobe_optinsn_page\0")
    struct.pack_into("<Q", heap.data, SLOTS - HEAP + 8, name)
    heap.ring(SLOTS + 16, [page])
    return heap


def found(structures: Structures) -> dict[str, SymbolTable]:
    return generated_text(structures, ADDRESSES.get)


def test_every_kind_is_named_as_the_kernel_lists_it() -> None:
    tables = found(a_kernel().structures())
    space = kernel_space(generated=tables)
    named = {}
    for offset in (0x1010, 0x40_0010, 0x9100, 0xAFFF):
        at = space.symbol_at(AREA + offset)
        assert at is not None
        assert at.image.kind is ImageKind.GENERATED
        named[offset] = (at.image.name, at.symbol.name)
    assert named == {
        0x1010: ("bpf", "bpf_prog_0123456789abcdef_probe"),
        0x40_0010: ("bpf", "bpf_trampoline_42_1"),
        0x9100: ("__builtin__ftrace", "ftrace_trampoline"),
        0xAFFF: ("__builtin__kprobes", "kprobe_optinsn_page"),
    }
    assert space.image_at(AREA + 0x2000) is None


def test_a_kernel_without_one_kind_has_the_others() -> None:
    for without, missing in (
        ("bpf_ksym", "bpf"),
        ("ftrace_ops", "__builtin__ftrace"),
        ("kprobe_insn_cache", "__builtin__kprobes"),
    ):
        tables = found(a_kernel().structures(types(without=without)))
        assert {"bpf", "__builtin__ftrace", "__builtin__kprobes"} - tables.keys() == {missing}
    assert generated_text(a_kernel().structures(), lambda _name: None) == {}


def test_programs_without_a_name_are_told_by_the_memory_that_they_share_with_others() -> None:
    heap = a_kernel()
    packs = [heap.put(bytes(16) + struct.pack("<Q", at) + bytes(8)) for at in (AREA, AREA + PACK)]
    heap.ring(PACKS, packs)
    structures = heap.structures()
    programs = program_memory(structures, ADDRESSES.get)
    assert programs == ((AREA, AREA + PACK), (AREA + PACK, AREA + 2 * PACK))
    space = kernel_space(generated=found(structures), programs=programs)
    named = space.symbol_at(AREA + 0x1010)
    assert named is not None
    assert named.symbol.name == "bpf_prog_0123456789abcdef_probe"
    resolved = space.resolve(np.array([AREA + 0x3000, AREA + 2 * PACK - 1], np.uint64))
    assert {space.images[image].name for image in resolved.image} == {"bpf"}
    assert set(resolved.reason.tolist()) == {Reason.GENERATED}


def test_a_kernel_that_keeps_programs_apart_tells_no_memory_for_them() -> None:
    heap = a_kernel()
    heap.ring(PACKS, [])
    assert program_memory(heap.structures(), ADDRESSES.get) == ()
    assert program_memory(heap.structures(types(without="bpf_prog_pack")), ADDRESSES.get) == ()
    assert program_memory(heap.structures(), lambda _name: None) == ()


def test_a_ring_that_never_comes_back_ends() -> None:
    heap = a_kernel()
    first = heap.structures().pointer(PROGRAMS)
    heap.ring(first, [first])
    assert len(found(heap.structures())["bpf"]) == 1
    struct.pack_into("<Q", heap.data, first - HEAP, 0xDEAD_0000)
    assert len(found(heap.structures())["bpf"]) == 1


def test_nonsense_is_left_out() -> None:
    heap = Heap()
    entries = [
        heap.put(program(b"backwards", AREA + 0x100, AREA)),
        heap.put(program(b"", AREA, AREA + 0x100)),
        heap.put(program(b"endless", 1, (1 << 64) - 1)),
        heap.put(program(b"esc\x1b[2J", AREA, AREA + 0x100)),
    ]
    heap.ring(PROGRAMS, [at + 48 for at in entries])
    table = found(heap.structures())["bpf"]
    assert [table.names[i] for i in range(len(table))] == ["esc\\x1b[2J"]


@given(st.binary(max_size=2048), st.integers(0, 0x2000))
def test_any_memory_gives_symbols_or_none(data: bytes, at: int) -> None:
    heap = a_kernel()
    heap.data[at : at + len(data)] = data
    for table in found(heap.structures()).values():
        assert (table.start < table.end).all()
        assert all(table.names[i].isprintable() for i in range(len(table)))
    for start, end in program_memory(heap.structures(), ADDRESSES.get):
        assert 0 < start < end < 1 << 64
