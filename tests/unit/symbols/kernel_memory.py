"""The memory of a small kernel with modules and tasks, and the BTF that describes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from symbols.btf import Btf
from symbols.memory import BytesMemory
from symbols.structures import Structures
from tests.unit.symbols.btf_blob import ARRAY, ENUM, INT, POINTER, Blob

HEAD = 0xFFFF_FFFF_A0B2_7160
AREA = 0xFFFF_FFFF_C000_0000
#: How each generation keeps modules.
GENERATIONS = ("5.4", "6.1", "6.12", "6.14")


@dataclass(frozen=True)
class Mod:
    """A module to be put into memory; its text is 0x1000 bytes at `start`."""

    name: str
    start: int
    state: int = 0
    symbols: Sequence[tuple[str, str, int, int]] = ()  # name, letter, address, size
    sections: Sequence[tuple[str, int]] = ()
    build_id: bytes = b""
    exports: Sequence[tuple[int, str]] = ()


@dataclass
class KernelMemory:
    """Pieces of memory that grow from a heap."""

    generation: str = "6.1"
    pieces: dict[int, bytearray] = field(default_factory=dict)
    heap: int = 0xFFFF_FFFF_D000_0000

    def put(self, data: bytes, at: int | None = None) -> int:
        """Bytes at an address, or at the next free one."""
        if at is None:
            at, self.heap = self.heap, self.heap + -(-len(data) // 16) * 16 + 16
        self.pieces[at] = bytearray(data)
        return at

    def text(self, text: str) -> int:
        return self.put(text.encode() + b"\0")

    def words(self, *words: int) -> int:
        return self.put(struct.pack(f"<{len(words)}Q", *words))

    def structures(self) -> Structures:
        """What is known of this memory, in whole pages as real memory is."""
        pages: dict[int, bytearray] = {}
        for at, data in self.pieces.items():
            for i, byte in enumerate(data):
                pages.setdefault((at + i) // 4096, bytearray(4096))[(at + i) % 4096] = byte
        memory = BytesMemory((page * 4096, bytes(data)) for page, data in pages.items())
        return Structures(memory, Btf.parse(types(self.generation)))


def types(generation: str) -> bytes:
    """The structures as one generation of kernels has them, shortened."""
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    u64 = blob.add(INT, "unsigned long", 8, 64)
    char = blob.add(INT, "char", 1, 8)
    pointer = blob.add(POINTER, "", 0)
    name = blob.add(ARRAY, "", 0, char, u32, 56)

    def struct_(title: str, bytes_: int, /, **members: tuple[int, int]) -> int:
        return blob.struct(title, bytes_, *((n, t, 8 * at) for n, (t, at) in members.items()))

    head = struct_("list_head", 16, next=(pointer, 0), prev=(pointer, 8))
    attribute = struct_("attribute", 16, name=(pointer, 0), mode=(u32, 8))
    binary = struct_(
        "bin_attribute", 64, attr=(attribute, 0), size=(u64, 16), private=(pointer, 24)
    )
    group = struct_("attribute_group", 40, name=(pointer, 0), bin_attrs=(pointer, 32))
    open_end = blob.add(ARRAY, "", 0, binary, u32, 0)
    if generation == "6.14":
        struct_("module_sect_attrs", 40, grp=(group, 0), attrs=(open_end, 40))
        struct_("module_notes_attrs", 40, grp=(group, 0), attrs=(open_end, 40))
    else:
        if generation == "5.4":
            section = struct_("module_sect_attr", 72, name=(pointer, 56), address=(u64, 64))
        else:
            section = struct_("module_sect_attr", 72, battr=(binary, 0), address=(u64, 64))
        attrs = blob.add(ARRAY, "", 0, section, u32, 0)
        struct_("module_sect_attrs", 48, grp=(group, 0), nsections=(u32, 40), attrs=(attrs, 48))
        struct_("module_notes_attrs", 16, dir=(pointer, 0), notes=(u32, 8), attrs=(open_end, 16))
    if generation in {"5.4", "6.1"}:
        layout = struct_("module_layout", 24, base=(pointer, 0), size=(u32, 8), text_size=(u32, 12))
        parts = {"core_layout": (layout, 128), "init_layout": (layout, 152)}
    else:
        part = struct_("module_memory", 16, base=(pointer, 0), size=(u32, 8))
        row = blob.add(ARRAY, "", 0, part, u32, 3)
        parts = {"mem": (row, 128)}
        names = [blob.string(text) for text in ("MOD_DATA", "MOD_TEXT", "MOD_RODATA")]
        blob.add(ENUM, "mod_mem_type", 4, names[0], 0, names[1], 1, names[2], 2, count=3)
    struct_("mod_kallsyms", 32, symtab=(pointer, 0), num_symtab=(u32, 8), strtab=(pointer, 16),
            typetab=(pointer, 24))  # fmt: skip
    struct_("kernel_symbol", 12, value_offset=(u32, 0), name_offset=(u32, 4))
    struct_("module", 256, state=(u32, 0), list=(head, 8), name=(name, 24), **parts,
            kallsyms=(pointer, 176), sect_attrs=(pointer, 184), notes_attrs=(pointer, 192),
            syms=(pointer, 200), num_syms=(u32, 208))  # fmt: skip
    comm = blob.add(ARRAY, "", 0, char, u32, 16)
    struct_("task_struct", 512, flags=(u32, 44), mm=(pointer, 200), pid=(u32, 300),
            tgid=(u32, 304), comm=(comm, 400))  # fmt: skip
    return blob.bytes()


def with_modules(mods: Sequence[Mod], generation: str = "6.1") -> KernelMemory:
    """A kernel that has loaded some modules, listed in this order."""
    kernel = KernelMemory(generation)
    places = [kernel.put(bytes(256)) for _ in mods]
    links = [HEAD, *(place + 8 for place in places), HEAD]
    kernel.put(struct.pack("<QQ", links[1], links[-2]), HEAD)
    for i, (mod, place) in enumerate(zip(mods, places, strict=True)):
        data = bytearray(256)
        struct.pack_into("<I", data, 0, mod.state)
        struct.pack_into("<QQ", data, 8, links[i + 2], links[i])
        data[24:80] = mod.name.encode().ljust(56, b"\0")[:56]
        if generation in {"5.4", "6.1"}:
            struct.pack_into("<QII", data, 128, mod.start, 0x3000, 0x1000)
        else:
            for part, (base, size) in enumerate((
                (mod.start + 0x100000, 0x800), (mod.start, 0x1000), (0, 0),
            )):  # fmt: skip
                struct.pack_into("<QI", data, 128 + 16 * part, base, size)
        struct.pack_into("<QQQ", data, 176, _symbols(kernel, mod), _sections(kernel, mod),
                         _notes(kernel, mod))  # fmt: skip
        exports = kernel.put(bytes(12 * len(mod.exports) or 1))
        names = [kernel.text(name) for _, name in mod.exports]
        for n, (address, _) in enumerate(mod.exports):
            slot = exports + 12 * n
            struct.pack_into(
                "<ii", kernel.pieces[exports], 12 * n, address - slot, names[n] - slot - 4
            )
        struct.pack_into("<QI", data, 200, exports, len(mod.exports))
        kernel.put(bytes(data), place)
    return kernel


def _symbols(kernel: KernelMemory, mod: Mod) -> int:
    if not mod.symbols:
        return 0
    strings = b"\0"
    table, letters = bytes(24), b"?"
    for name, letter, address, size in mod.symbols:
        table += struct.pack("<IBBHQQ", len(strings), 0, 0, 1, address, size)
        strings += name.encode() + b"\0"
        letters += letter.encode()
    return kernel.words(
        kernel.put(table), len(mod.symbols) + 1, kernel.put(strings), kernel.put(letters)
    )


def _sections(kernel: KernelMemory, mod: Mod) -> int:
    if not mod.sections:
        return 0
    names = [(kernel.text(name), address) for name, address in mod.sections]
    if kernel.generation == "6.14":
        attributes = [
            kernel.put(struct.pack("<QQQQ", name, 0o400, 0, address) + bytes(32))
            for name, address in names
        ]
        return kernel.put(bytes(32) + struct.pack("<Q", kernel.words(*attributes, 0)))
    at = 56 if kernel.generation == "5.4" else 0
    rows = b""
    for name, address in names:
        row = bytearray(72)
        struct.pack_into("<Q", row, at, name)
        struct.pack_into("<Q", row, 64, address)
        rows += row
    return kernel.put(bytes(40) + struct.pack("<Q", len(names)) + rows)


def _notes(kernel: KernelMemory, mod: Mod) -> int:
    if not mod.build_id:
        return 0
    note = struct.pack("<III", 4, len(mod.build_id), 3) + b"GNU\0" + mod.build_id
    name = kernel.text(".note.gnu.build-id")
    attribute = struct.pack("<QQQQ", name, 0o444, len(note), kernel.put(note)) + bytes(32)
    if kernel.generation == "6.14":
        return kernel.put(bytes(32) + struct.pack("<Q", kernel.words(kernel.put(attribute), 0)))
    return kernel.put(struct.pack("<QQ", 0, 1) + attribute)
