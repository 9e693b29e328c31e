"""The files that a process has mapped to run: from the kernel's description of its user space.

Linux 6.1 and later keep the mappings in a maple tree (lib/maple_tree.c), earlier ones in a
red-black tree; both are walked level by level, so that a level is one read. The path of a file is
put together as `d_path` does it (fs/d_path.c), but for what was deleted or lies outside of the
process's root.

Everything may change while it is read, or be a lie: all walks are bounded, and what makes no sense
is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from symbols.errors import BtfError, IntrospectionError
from symbols.memory import MemoryFault, gather
from symbols.names import printable
from symbols.structures import Record, Structures

_WRAP = 1 << 64
#: The sizes that a page can have, and what the kernel tells each program of its own
#: (include/uapi/linux/auxvec.h).
_PAGES, _TELLS_PAGE = (4096, 16 << 10, 64 << 10), 6
_EXECUTABLE = 4  # VM_EXEC of include/linux/mm.h
_MOST_NODES = 2048
_MOST_MAPPINGS = 8192
_MOST_FILES = 512
_MOST_DEPTH = 64
_LONGEST_VECTOR = 1024
_LONGEST_NAME = 255
_MOST_KNOWN = 4096

#: Of a pointer to a node of a maple tree (include/linux/maple_tree.h): its type, and what is no
#: address in it.
_NODE_TYPE_SHIFT, _NODE_TYPE, _NODE_MASK = 3, 0xF, 0xFF
_LEAF, _RANGE, _RANGE_WITH_GAPS = 1, 2, 3
#: An entry that points to a node, not to a mapping (include/linux/xarray.h, xa_is_node).
_INTERNAL, _IS_INTERNAL, _LOWEST_NODE = 3, 2, 4096


@dataclass(frozen=True, slots=True)
class UserMapping:
    """A piece of a file, or of memory without one, that a process may run.

    Attributes:
        start: first address.
        end: the address after its last.
        offset: where it begins in the file, in bytes.
        path: of the file as the guest's root has it; `[vdso]` or `[anon]` where there is none.
            Safe to show.
        file: address of the kernel's `struct file`; 0 where there is none.
        page: bytes of a page of the guest's kernel.
    """

    start: int
    end: int
    offset: int
    path: str
    file: int = field(default=0, compare=False)
    page: int = field(default=4096, compare=False)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2] or self.path


@dataclass(frozen=True, slots=True)
class _Area:
    """A mapping as the kernel has it; `file` is the address of its structure."""

    start: int
    end: int
    page: int
    file: int


class UserMappings:
    """Reads what processes have mapped.

    Args:
        structures: the guest's memory and types.

    Raises:
        BtfError: the kernel's types do not tell where mappings are.
    """

    def __init__(self, structures: Structures) -> None:
        self._structures = structures
        self._paths: dict[tuple[int, int], str] = {}  # by mount and directory entry
        self._page = 0
        self._maple = structures.has("mm_struct", "mm_mt")
        if self._maple:
            structures.member("mm_struct", "mm_mt.ma_root")
            self._nodes = {
                _LEAF: self._node("maple_range_64"),
                _RANGE: self._node("maple_range_64"),
                _RANGE_WITH_GAPS: self._node("maple_arange_64"),
            }
        else:
            structures.member("mm_struct", "mm_rb.rb_node")
            structures.member("vm_area_struct", "vm_rb.rb_left")
            structures.member("vm_area_struct", "vm_rb.rb_right")
        for name in ("vm_start", "vm_end", "vm_flags", "vm_pgoff", "vm_file"):
            structures.member("vm_area_struct", name)
        structures.size("vm_area_struct")
        for structure, path in (
            ("file", "f_path.mnt"), ("file", "f_path.dentry"), ("dentry", "d_parent"),
            ("dentry", "d_name.name"), ("dentry", "d_name.len"), ("mount", "mnt"),
            ("mount", "mnt_parent"), ("mount", "mnt_mountpoint"),
        ):  # fmt: skip
            structures.member(structure, path)

    def of(self, mm: int) -> tuple[UserMapping, ...] | None:
        """What a user space has that may run, by address; None where it cannot be read.

        Args:
            mm: address of its `struct mm_struct`.
        """
        try:
            if self._maple:
                root = self._pointer_in(mm, "mm_struct", "mm_mt.ma_root")
                areas = self._of_maple_tree(root)
            else:
                root = self._pointer_in(mm, "mm_struct", "mm_rb.rb_node")
                areas = self._of_red_black_tree(root)
            special = self._special(mm)
            page = self._page_size(mm)
        except MemoryFault:
            return None
        files = self._files({area.file for area in areas if area.file})
        found = []
        for area in sorted(areas, key=lambda area: area.start):
            path = files.get(area.file, "[unknown file]") if area.file else "[anon]"
            if not area.file and area.start == special:
                path = "[vdso]"
            offset = area.page * page % _WRAP
            found.append(UserMapping(area.start, area.end, offset, path, area.file, page))
        return tuple(found)

    def forget(self) -> None:
        """Read the paths of files and the size of pages anew, too."""
        self._paths.clear()
        self._page = 0

    def _page_size(self, mm: int) -> int:
        """The unit of offsets in files, from what the kernel told the program when it started."""
        if not self._page and self._structures.has("mm_struct", "saved_auxv"):
            told, size = self._structures.member("mm_struct", "saved_auxv")
            place = (mm + told.offset) % _WRAP, min(size, _LONGEST_VECTOR)
            data = gather(self._structures.memory, [place])[0] or b""
            words = [self._structures.number(data[at : at + 8]) for at in range(0, len(data), 8)]
            pairs = dict(zip(words[::2], words[1::2], strict=False))
            if pairs.get(_TELLS_PAGE) in _PAGES:
                self._page = pairs[_TELLS_PAGE]
        return self._page or _PAGES[0]

    def _special(self, mm: int) -> int:
        """Where the kernel gives the process code of its own; 0 where that is not known."""
        for member in ("context.vdso", "context.vdso_base"):  # the latter on s390x
            if self._structures.has("mm_struct", member):
                return self._pointer_in(mm, "mm_struct", member)
        return 0

    def _pointer_in(self, address: int, structure: str, path: str) -> int:
        member, _ = self._structures.member(structure, path)
        data = gather(self._structures.memory, [((address + member.offset) % _WRAP, 8)])[0]
        if data is None:
            raise MemoryFault(address, 8)
        return self._structures.number(data)

    def _node(self, structure: str) -> tuple[int, int, int, int]:
        """Offsets of the pivots and slots of a node, and how many slots it has."""
        pivot, size = self._structures.member(structure, "pivot")
        slot, slots = self._structures.member(structure, "slot")
        return pivot.offset, size // 8, slot.offset, slots // 8

    def _of_maple_tree(self, root: int) -> list[_Area]:
        if root & _INTERNAL != _IS_INTERNAL or root < _LOWEST_NODE:
            return self._areas([root]) if root else []  # a tree of one entry
        level = [(root, _WRAP - 1)]  # nodes, each with the last address below it
        entries: list[int] = []
        seen = 0
        while level and seen < _MOST_NODES:
            spans = []
            for node, _ in level:
                shape = self._nodes.get(node >> _NODE_TYPE_SHIFT & _NODE_TYPE)
                size = max(shape[0] + 8 * shape[1], shape[2] + 8 * shape[3]) if shape else 8
                spans.append((node & ~_NODE_MASK, size))
            seen += len(level)
            below: list[tuple[int, int]] = []
            for (node, last), data in zip(level, self._gathered(spans), strict=True):
                kind = node >> _NODE_TYPE_SHIFT & _NODE_TYPE
                if data is None or kind not in self._nodes:
                    continue
                slots = self._slots(data, kind, last)
                if kind == _LEAF:
                    entries += [slot for slot, _ in slots if slot & _INTERNAL == 0]
                else:
                    below += [
                        (slot, pivot) for slot, pivot in slots
                        if slot >= _LOWEST_NODE
                    ]  # fmt: skip
            level = below[:_MOST_NODES]
        return self._areas(entries)

    def _slots(self, data: bytes, kind: int, last: int) -> list[tuple[int, int]]:
        """The entries of a node that are in use, with the last address of each.

        A pivot of 0 that is not the first means the end of the node (mas_logical_pivot).
        """
        pivots_at, pivots, slots_at, slots = self._nodes[kind]
        found = []
        for i in range(slots):
            pivot = 0
            if i < pivots:
                pivot = self._structures.number(data[pivots_at + 8 * i : pivots_at + 8 * i + 8])
            if (not pivot and i) or i >= pivots:
                pivot = last
            slot = self._structures.number(data[slots_at + 8 * i : slots_at + 8 * i + 8])
            if slot:
                found.append((slot, pivot))
            if pivot >= last:
                break
        return found

    def _of_red_black_tree(self, root: int) -> list[_Area]:
        node, _ = self._structures.member("vm_area_struct", "vm_rb")
        level, areas = [root] if root else [], []
        seen: set[int] = set()
        while level and len(seen) < _MOST_MAPPINGS:
            seen.update(level)
            addresses = [(one - node.offset) % _WRAP for one in level]
            records = self._records("vm_area_struct", addresses)
            areas += [area for record in records if (area := _area(record)) is not None]
            below = []
            for record in records:
                for path in ("vm_rb.rb_left", "vm_rb.rb_right"):
                    link = record.number(path)
                    if link and link not in seen:
                        below.append(link)
            level = list(dict.fromkeys(below))[:_MOST_MAPPINGS]
        return areas

    def _areas(self, addresses: Sequence[int]) -> list[_Area]:
        records = self._records("vm_area_struct", addresses[:_MOST_MAPPINGS])
        return [area for record in records if (area := _area(record)) is not None]

    def _records(self, structure: str, addresses: Sequence[int]) -> list[Record]:
        """The structures at some addresses, without those that cannot be read."""
        size = self._structures.size(structure)
        return [
            Record(self._structures, structure, address, data)
            for address, data in zip(
                addresses, self._gathered([(one, size) for one in addresses]), strict=True
            )
            if data is not None
        ]

    def _gathered(self, spans: Sequence[tuple[int, int]]) -> list[bytes | None]:
        return gather(self._structures.memory, spans) if spans else []

    def _files(self, files: Iterable[int]) -> dict[int, str]:
        """The path of each `struct file`."""
        wanted = list(files)[:_MOST_FILES]
        mnt, _ = self._structures.member("file", "f_path.mnt")
        dentry, _ = self._structures.member("file", "f_path.dentry")
        first = min(mnt.offset, dentry.offset)
        size = max(mnt.offset, dentry.offset) + 8 - first
        places: dict[int, tuple[int, int]] = {}
        spans = [((file + first) % _WRAP, size) for file in wanted]
        for file, data in zip(wanted, self._gathered(spans), strict=True):
            if data is not None:
                places[file] = (
                    self._structures.number(data[mnt.offset - first :][:8]),
                    self._structures.number(data[dentry.offset - first :][:8]),
                )
        if len(self._paths) > _MOST_KNOWN:
            self._paths.clear()
        unknown = [place for place in dict.fromkeys(places.values()) if place not in self._paths]
        self._paths.update(self._walked(unknown))
        return {file: self._paths[place] for file, place in places.items() if place in self._paths}

    def _walked(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
        """The path of each mount and directory entry, all of them walked up together."""
        mnt, _ = self._structures.member("mount", "mnt")
        at = {place: ((place[0] - mnt.offset) % _WRAP, place[1]) for place in places}
        parts: dict[tuple[int, int], list[str]] = {place: [] for place in places}
        for _ in range(_MOST_DEPTH):
            if not at:
                break
            entries = _keyed(self._records("dentry", [entry for _, entry in at.values()]))
            names = self._names(entries.values())
            roots = self._mounts([
                mount for mount, entry in at.values()
                if entry in entries and entries[entry].number("d_parent") == entry
            ])  # fmt: skip
            following = {}
            for place, (mount, entry) in at.items():
                if entry not in entries:
                    continue
                parent = entries[entry].number("d_parent")
                if parent != entry:
                    if (name := names.get(entry)) is not None:
                        parts[place].append(name)
                        following[place] = (mount, parent)
                elif mount in roots and (above := roots[mount])[0] != mount:
                    following[place] = above
            at = following
        return {place: "/" + "/".join(reversed(path)) for place, path in parts.items() if path}

    def _names(self, entries: Iterable[Record]) -> dict[int, str]:
        """What directory entries are called, by their address."""
        wanted = {
            entry.address: (entry.number("d_name.name"), entry.number("d_name.len"))
            for entry in entries
        }
        usable = {key: span for key, span in wanted.items() if 0 < span[1] <= _LONGEST_NAME}
        found = self._gathered(list(usable.values()))
        return {
            key: printable(data.replace(b"/", b"\\x2f"))
            for key, data in zip(usable, found, strict=True)
            if data is not None
        }

    def _mounts(self, addresses: Sequence[int]) -> dict[int, tuple[int, int]]:
        """On which mount and directory entry each file system is mounted."""
        parent, _ = self._structures.member("mount", "mnt_parent")
        point, _ = self._structures.member("mount", "mnt_mountpoint")
        distinct = list(dict.fromkeys(addresses))
        spans = [
            ((address + member.offset) % _WRAP, 8)
            for address in distinct
            for member in (parent, point)
        ]
        found = self._gathered(spans)
        mounts = {}
        for address, above, entry in zip(distinct, found[::2], found[1::2], strict=True):
            if above is not None and entry is not None:
                mounts[address] = (self._structures.number(above), self._structures.number(entry))
        return mounts


def _keyed(records: Iterable[Record]) -> dict[int, Record]:
    return {record.address: record for record in records}


def _area(record: Record) -> _Area | None:
    """A mapping that may run; None where it may not, or where it is none."""
    try:
        start, end = record.number("vm_start"), record.number("vm_end")
        flags, page = record.number("vm_flags"), record.number("vm_pgoff")
        file = record.number("vm_file")
    except (BtfError, IntrospectionError):
        return None
    if not flags & _EXECUTABLE or not start < end or start % _PAGES[0] or end % _PAGES[0]:
        return None
    return _Area(start, end, page, file)
