"""BTF, the kernel's compact description of its own types: where a structure has its members.

The format is that of Linux's Documentation/bpf/btf.rst and include/uapi/linux/btf.h: a header, a
row of type records without an index, and a table of strings. A kernel has a hundred thousand types,
of which a profiler asks for ten: the records are stepped over once, and read when asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.errors import BtfError
from symbols.names import printable

#: A distribution's kernel has 4 MiB; one with every driver built in stays below 32.
LARGEST = 64 << 20
#: Anonymous members within anonymous members, and typedefs of typedefs.
_DEEPEST = 64

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F

_INT, _POINTER, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF = 1, 2, 3, 4, 5, 6, 8
_VOLATILE, _CONST, _RESTRICT, _FLOAT, _DATASEC, _TYPE_TAG, _ENUM64 = 9, 10, 11, 16, 15, 18, 19
_NAMES_OTHER = frozenset({_TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_SIZED = frozenset({_INT, _STRUCT, _UNION, _ENUM, _FLOAT, _DATASEC, _ENUM64})
#: Words of a record by its kind: once, and for each of the things it counts; 0 of no kind.
_LENGTHS = np.array(
    [
        (0, 4, 3, 6, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 3, 4, 3, 3, *12 * (0,)),
        (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3, *12 * (0,)),
    ]
)

_REMEDY = "Give the vmlinux of the guest's kernel, which describes the same structures."


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure.

    Attributes:
        bit_offset: from the start of the structure that was asked about.
        bit_size: of a bit field; 0 for an ordinary member.
        type: number of its type.
    """

    bit_offset: int
    bit_size: int
    type: int

    @property
    def offset(self) -> int:
        """In bytes; of a bit field, the byte that holds its first bit."""
        return self.bit_offset // 8


class Btf:
    """The types of one kernel; `parse` gives one.

    Attributes:
        little_endian: byte order of the guest.
    """

    def __init__(
        self,
        words: NDArray[np.uint32],
        strings: bytes,
        *,
        little_endian: bool = True,
        pointer_size: int = 8,
    ) -> None:
        self.little_endian = little_endian
        starts = _record_starts(words)
        self._words = words
        self._starts = starts
        self._strings = strings
        self._pointer = pointer_size
        self._infos = words[starts + 1]
        self._names = words[starts]
        self._kinds = self._infos >> 24 & 31
        self._found: dict[str, list[int]] = {}  # where strings are that were looked for

    @classmethod
    def parse(cls, data: bytes, *, pointer_size: int = 8) -> Btf:
        """The types in `data`, which may have other bytes behind them.

        Raises:
            BtfError: it is no BTF, is cut short, or contradicts itself.
        """
        types, strings, little = _parts(data)
        words = np.frombuffer(types, "<u4" if little else ">u4").astype(np.uint32)
        return cls(words, strings, little_endian=little, pointer_size=pointer_size)

    def __len__(self) -> int:
        """How many types there are, `void` not counted."""
        return len(self._starts)

    def offset(self, structure: str, path: str) -> int:
        """Where a member is, in bytes from the start of its structure.

        Args:
            structure: name of a struct or union, without the keyword.
            path: a member, or with dots a member of a member. Members of anonymous members are
                found by their own names.

        Raises:
            BtfError: there is no such structure or member.
        """
        found = self.member(structure, path)
        if found is None:
            raise no_member(structure, path)
        return found.offset

    def member(self, structure: str, path: str) -> Member | None:
        """A member of a structure, or None where this kernel has none of that name."""
        for number in self._named(structure, (_STRUCT, _UNION)):
            found = self._follow(number, path)
            if found is not None:
                return found
        return None

    def size(self, structure: str) -> int:
        """Bytes of a structure.

        Raises:
            BtfError: there is none of that name.
        """
        for number in self._named(structure, (_STRUCT, _UNION)):
            return int(self._record(number)[2])
        raise BtfError(f"the kernel's types have no structure {printable(structure)}", _REMEDY)

    def size_of(self, member: Member) -> int:
        """Bytes of a member, of an array all its elements.

        Raises:
            BtfError: its type has no size.
        """
        return self._size(member.type, _DEEPEST)

    def length_of(self, member: Member) -> int:
        """Elements of a member that is an array, or 1."""
        number = self._plain(member.type)
        if number and self._kind(number) == _ARRAY:
            return int(self._record(number, 6)[5])
        return 1

    def enum_value(self, name: str) -> int:
        """The value of an enumerator, whatever enumeration it is in.

        Raises:
            BtfError: there is none of that name.
        """
        wanted = self._string_offsets(name)
        for number in self._numbers((_ENUM, _ENUM64)):
            wide = self._kind(number) == _ENUM64
            start, info = int(self._starts[number - 1]), int(self._infos[number - 1])
            count, signed = info & 0xFFFF, info >> 31
            step = 3 if wide else 2
            rows = self._words[start + 3 : start + 3 + step * count].reshape(count, step)
            for row in np.flatnonzero(np.isin(rows[:, 0], wanted)):
                value = int(rows[row, 1]) | (int(rows[row, 2]) << 32 if wide else 0)
                bits = 64 if wide else 32
                return value - (1 << bits) if signed and value >> (bits - 1) else value
        raise BtfError(f"the kernel's types have no enumerator {printable(name)}", _REMEDY)

    def _follow(self, number: int, path: str) -> Member | None:
        """The member at the end of a dotted path."""
        bits = 0
        found: Member | None = None
        for part in path.split("."):
            if found is not None:
                number = self._plain(found.type)
            found = self._member(number, self._string_offsets(part), _DEEPEST)
            if found is None:
                return None
            bits += found.bit_offset
        assert found is not None
        return Member(bits, found.bit_size, found.type)

    def _member(self, number: int, wanted: list[int], depth: int) -> Member | None:
        if not number or self._kind(number) not in {_STRUCT, _UNION}:
            return None
        start, info = int(self._starts[number - 1]), int(self._infos[number - 1])
        count, has_fields = info & 0xFFFF, info >> 31
        rows = self._words[start + 3 : start + 3 + 3 * count].reshape(count, 3)
        anonymous = []
        for name, kind, place in rows.tolist():
            bits, width = (place & 0xFFFFFF, place >> 24) if has_fields else (place, 0)
            if name in wanted:
                return Member(bits, width, kind)
            if not self._strings[name : name + 1].strip(b"\0"):
                anonymous.append((kind, bits))
        for kind, bits in anonymous if depth else ():
            inner = self._member(self._plain(kind), wanted, depth - 1)
            if inner is not None:
                return Member(bits + inner.bit_offset, inner.bit_size, inner.type)
        return None

    def _named(self, name: str, kinds: tuple[int, ...]) -> Iterator[int]:
        """Numbers of the types of a name and of some kinds."""
        for at in self._string_offsets(name):
            rows: list[int] = np.flatnonzero(self._names == at).tolist()
            yield from (row + 1 for row in rows if self._kinds[row] in kinds)

    def _numbers(self, kinds: tuple[int, ...]) -> list[int]:
        numbers: list[int] = (np.flatnonzero(np.isin(self._kinds, kinds)) + 1).tolist()
        return numbers

    def _string_offsets(self, name: str) -> list[int]:
        """Where the string table has a name; a writer may let it share the end of a longer one."""
        wanted = name.encode("utf-8", "surrogateescape")
        if not wanted or b"\0" in wanted:
            return []
        if name not in self._found:
            offsets = self._found[name] = []
            at = self._strings.find(wanted + b"\0")
            while at >= 0:
                offsets.append(at)
                at = self._strings.find(wanted + b"\0", at + 1)
        return self._found[name]

    def _kind(self, number: int) -> int:
        return int(self._kinds[number - 1])

    def _record(self, number: int, words: int = 3) -> list[int]:
        start = int(self._starts[number - 1])
        record: list[int] = self._words[start : start + words].tolist()
        return record

    def _plain(self, number: int) -> int:
        """The type behind typedefs and qualifiers; 0 where it is void or the records lie."""
        for _ in range(_DEEPEST):
            if not 0 < number <= len(self):
                return 0
            if self._kind(number) not in _NAMES_OTHER:
                return number
            number = self._record(number)[2]
        return 0

    def _size(self, number: int, depth: int) -> int:
        number = self._plain(number)
        kind = self._kind(number) if number else 0
        if kind == _POINTER:
            return self._pointer
        if kind in _SIZED:
            return self._record(number)[2]
        if kind == _ARRAY and depth:
            _, _, _, element, _, count = self._record(number, 6)
            return count * self._size(element, depth - 1)
        raise BtfError("the kernel's types have a member without a size", _REMEDY)


def no_member(structure: str, path: str) -> BtfError:
    """What is said of a member that a kernel does not have."""
    return BtfError(
        f"the kernel's types have no member {printable(path)} in {printable(structure)}", _REMEDY
    )


def _parts(data: bytes) -> tuple[bytes, bytes, bool]:
    """The type records, the strings, and whether the bytes are little-endian."""
    little = data[:2] != b"\xeb\x9f"
    header = _HEADER if little else struct.Struct(">" + _HEADER.format[1:])
    if len(data) < header.size:
        raise BtfError("the description of the kernel's types is cut short", _REMEDY)
    magic, version, _, length, types_at, types_size, strings_at, strings_size = header.unpack_from(
        data
    )
    if magic != _MAGIC or version != 1:
        raise BtfError(
            f"no description of the kernel's types begins with {data[:4].hex(' ')}", _REMEDY
        )
    # A later header may be longer; what it adds does not concern us.
    types_at, strings_at = types_at + length, strings_at + length
    if length < header.size or max(types_at + types_size, strings_at + strings_size) > len(data):
        raise BtfError("the description of the kernel's types is cut short", _REMEDY)
    if types_size % 4 or types_size > LARGEST or strings_size > LARGEST:
        raise BtfError("the description of the kernel's types contradicts itself", _REMEDY)
    types = data[types_at : types_at + types_size]
    return types, data[strings_at : strings_at + strings_size], little


def _record_starts(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Where each record begins, in words; they have no index, and lengths of their own."""
    # What the length would be wherever one began, so that stepping from one to the next is cheap.
    infos = words[1:-1]
    once, each = _LENGTHS[:, infos >> 24 & 31]
    lengths: list[int] = [*(once + each * (infos & 0xFFFF)).tolist(), 0, 0]
    starts: list[int] = []
    at, end = 0, len(words)
    while at < end:
        starts.append(at)
        if not (length := lengths[at]):
            raise BtfError(f"type {len(starts)} of the kernel is of no known kind", _REMEDY)
        at += length
    if at != end:
        raise BtfError("the last type of the kernel is cut short", _REMEDY)
    return np.array(starts, np.int64)


def btf_size(head: bytes) -> int | None:
    """How many bytes a BTF has whose first 24 are `head`; None if they begin none.

    So that it can be read from memory without knowing where it ends.
    """
    if len(head) < _HEADER.size or head[:2] not in {b"\x9f\xeb", b"\xeb\x9f"}:
        return None
    order = "<" if head[:2] == b"\x9f\xeb" else ">"
    header = struct.unpack_from(order + _HEADER.format[1:], head)
    _, version, _, length, types_at, types_size, strings_at, strings_size = header
    size = int(length + max(types_at + types_size, strings_at + strings_size))
    if version != 1 or not _HEADER.size <= length <= 4096 or size > LARGEST:
        return None
    return size if types_size and strings_size else None
