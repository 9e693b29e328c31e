"""The memory of a kernel with processes that have mapped files, in both ways that Linux had."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from symbols.btf import Btf
from symbols.memory import BytesMemory
from symbols.structures import Structures
from tests.unit.symbols.btf_blob import ARRAY, INT, POINTER, Blob

EXECUTABLE = 0x5


@dataclass(frozen=True)
class Mapped:
    """A mapping to be put into memory; `file` is the address of its structure, 0 for none."""

    start: int
    end: int
    page: int = 0
    file: int = 0
    flags: int = EXECUTABLE


def types(*, maple: bool) -> bytes:
    """The structures that mappings are made of, shortened."""
    blob = Blob()
    u32 = blob.add(INT, "unsigned int", 4, 32)
    u64 = blob.add(INT, "unsigned long", 8, 64)
    pointer = blob.add(POINTER, "", 0)

    def struct_(title: str, bytes_: int, /, **members: tuple[int, int]) -> int:
        return blob.struct(title, bytes_, *((n, t, 8 * at) for n, (t, at) in members.items()))

    # The name is that of s390x in the one, that of others in the other.
    vdso = "vdso_base" if maple else "vdso"
    context = struct_("mm_context_t", 16, **{vdso: (pointer, 8)})
    links = struct_("rb_node", 24, rb_left=(pointer, 16), rb_right=(pointer, 8))
    if maple:
        tree = struct_("maple_tree", 16, ma_root=(pointer, 8))
        root = {"mm_mt": (tree, 8)}
        for name, slots in (("maple_range_64", 16), ("maple_arange_64", 10)):
            pivots = blob.add(ARRAY, "", 0, u64, u32, slots - 1)
            entries = blob.add(ARRAY, "", 0, pointer, u32, slots)
            struct_(name, 256, parent=(pointer, 0), pivot=(pivots, 8), slot=(entries, 8 * slots))
    else:
        top = struct_("rb_root", 8, rb_node=(pointer, 0))
        root = {"mm_rb": (top, 8)}
    told = blob.add(ARRAY, "", 0, u64, u32, 6)
    struct_("mm_struct", 112, **root, context=(context, 40), saved_auxv=(told, 64))
    struct_("vm_area_struct", 96, vm_start=(u64, 0), vm_end=(u64, 8), vm_rb=(links, 16),
            vm_flags=(u64, 48), vm_pgoff=(u64, 56), vm_file=(pointer, 64))  # fmt: skip
    path = struct_("path", 16, mnt=(pointer, 0), dentry=(pointer, 8))
    struct_("file", 64, f_path=(path, 16))
    qstr = struct_("qstr", 16, len=(u32, 4), name=(pointer, 8))
    struct_("dentry", 64, d_parent=(pointer, 8), d_name=(qstr, 16))
    vfs = struct_("vfsmount", 16, mnt_root=(pointer, 0))
    struct_("mount", 64, mnt_parent=(pointer, 8), mnt_mountpoint=(pointer, 16), mnt=(vfs, 32))
    return blob.bytes()


@dataclass
class ProcessMemory:
    """Pieces of memory that grow from a heap of nodes, which are aligned to 256 bytes."""

    maple: bool = True
    pieces: dict[int, bytes] = field(default_factory=dict)
    heap: int = 0xFFFF_8880_0001_0000

    def put(self, data: bytes) -> int:
        at, self.heap = self.heap, self.heap + -(-len(data) // 256) * 256
        self.pieces[at] = data
        return at

    def words(self, size: int, **at: int) -> bytearray:
        """Words at offsets, which are named `_8` for 8."""
        data = bytearray(size)
        for name, value in at.items():
            struct.pack_into("<Q", data, int(name[1:]), value)
        return data

    def entry(self, name: bytes, parent: int | None) -> int:
        """A directory entry; without a parent it is its own, as a root is."""
        at = self.heap
        self.put(bytes(64))
        data = self.words(64, _8=at if parent is None else parent, _24=self.put(name + b"\0"))
        struct.pack_into("<I", data, 20, len(name))
        self.pieces[at] = bytes(data)
        return at

    def mount(self, parent: int | None = None, point: int = 0) -> int:
        """A mount, as `struct path` names it; without a parent it is the root's."""
        at = self.heap
        self.put(bytes(64))
        above = at if parent is None else parent - 32
        self.pieces[at] = bytes(self.words(64, _8=above, _16=point))
        return at + 32

    def file(self, mount: int, entry: int) -> int:
        return self.put(bytes(self.words(64, _16=mount, _24=entry)))

    def process(
        self, mapped: Sequence[Mapped], vdso: int = 0, *, deep: bool = False, page: int = 0
    ) -> int:
        """An mm_struct with mappings, which are in order; `page` is what the program was told."""
        areas = [
            self.put(
                bytes(
                    self.words(
                        96, _0=one.start, _8=one.end, _48=one.flags, _56=one.page, _64=one.file
                    )
                )
            )
            for one in mapped
        ]
        root = self._maple(mapped, areas, deep=deep) if self.maple else self._tree(areas)
        at = {"_16": root} if self.maple else {"_8": root}
        return self.put(bytes(self.words(112, **at, _48=vdso, _64=33, _72=vdso, _80=6, _88=page)))

    def _maple(self, mapped: Sequence[Mapped], areas: Sequence[int], *, deep: bool) -> int:
        """One leaf, or a node of leaves with two mappings each."""
        if not deep:
            return self._leaf(list(zip(mapped, areas, strict=True)), None) | 1 << 3 | 2
        both = list(zip(mapped, areas, strict=True))
        parts = [both[i : i + 2] for i in range(0, len(both), 2)]
        node = self.words(256)
        for i, part in enumerate(parts):
            last = None if i == len(parts) - 1 else part[-1][0].end - 1
            struct.pack_into("<Q", node, 80 + 8 * i, self._leaf(part, last) | 1 << 3 | 4)
            if last is not None:
                struct.pack_into("<Q", node, 8 + 8 * i, last)
        return self.put(bytes(node)) | 3 << 3 | 2

    def _leaf(self, part: list[tuple[Mapped, int]], last: int | None) -> int:
        """Gaps are entries of 0; the pivot after the last one in use is 0."""
        entries = []
        for one, area in part:
            entries += [(0, one.start - 1), (area, one.end - 1)]
        if last is None:
            entries.append((0, 0))
        node = self.words(256)
        for i, (slot, pivot) in enumerate(entries):
            struct.pack_into("<Q", node, 128 + 8 * i, slot)
            struct.pack_into("<Q", node, 8 + 8 * i, pivot)
        return self.put(bytes(node))

    def _tree(self, areas: Sequence[int]) -> int:
        """A balanced tree."""
        if not areas:
            return 0
        middle = len(areas) // 2
        data = bytearray(self.pieces[areas[middle]])
        left, right = self._tree(areas[:middle]), self._tree(areas[middle + 1 :])
        struct.pack_into("<QQ", data, 24, right, left)
        self.pieces[areas[middle]] = bytes(data)
        return areas[middle] + 16

    def structures(self) -> Structures:
        memory = BytesMemory((at, data.ljust(256, b"\0")) for at, data in self.pieces.items())
        return Structures(memory, Btf.parse(types(maple=self.maple)))
