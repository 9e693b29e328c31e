"""The kernel's structures in a guest's memory, taken apart by the kernel's own description."""

from __future__ import annotations

from typing import Literal

from symbols.btf import Btf, Member, no_member
from symbols.errors import BtfError, IntrospectionError
from symbols.memory import Memory

_WRAP = 1 << 64
_PAGE = 4096
#: No structure that we read is larger; a description that says otherwise lies.
_LARGEST = 64 << 10


class Structures:
    """Reads structures by name.

    Args:
        memory: the guest's.
        btf: its kernel's types.
    """

    def __init__(self, memory: Memory, btf: Btf) -> None:
        self.memory = memory
        self.btf = btf
        self._members: dict[tuple[str, str], tuple[Member, int]] = {}
        self._has: dict[tuple[str, str], bool] = {}
        self._sizes: dict[str, int] = {}

    def at(self, address: int, structure: str) -> Record:
        """The structure at an address, read at one instant.

        Raises:
            MemoryFault: it cannot be read.
            BtfError: the kernel has no structure of that name.
        """
        return Record(self, structure, address, self.memory.read(address, self.size(structure)))

    def size(self, structure: str) -> int:
        """Bytes of a structure; see `Btf.size`.

        Raises:
            BtfError: the kernel has none of that name, or one larger than any is.
        """
        if structure not in self._sizes:
            size = self.btf.size(structure)
            if not 0 < size <= _LARGEST:
                raise BtfError(f"the structure {structure} claims to have {size} bytes")
            self._sizes[structure] = size
        return self._sizes[structure]

    def has(self, structure: str, path: str) -> bool:
        """Whether this kernel has such a member."""
        key = structure, path
        if key not in self._has:
            self._has[key] = self.btf.member(structure, path) is not None
        return self._has[key]

    def member(self, structure: str, path: str) -> tuple[Member, int]:
        """A member and its size in bytes.

        Raises:
            BtfError: there is none of that name.
        """
        key = structure, path
        if key not in self._members:
            member = self.btf.member(structure, path)
            if member is None:
                raise no_member(structure, path)
            self._members[key] = member, self.btf.size_of(member)
        return self._members[key]

    def pointer(self, address: int) -> int:
        """The word of eight bytes at an address."""
        return self.number(self.memory.read(address % _WRAP, 8))

    def number(self, data: bytes) -> int:
        """Bytes in the guest's order as a number without sign."""
        order: Literal["little", "big"] = "little" if self.btf.little_endian else "big"
        return int.from_bytes(data, order)

    def text(self, address: int, limit: int = 64) -> bytes:
        """The text at an address, without its final zero, cut after `limit` bytes.

        Raises:
            MemoryFault: it cannot be read up to its end.
        """
        found = b""
        while len(found) < limit:
            at = address + len(found)
            # Never into the next page before it is known that the text goes on there.
            part = self.memory.read(at, min(limit - len(found), _PAGE - at % _PAGE))
            found += part.split(b"\0", 1)[0]
            if b"\0" in part:
                break
        return found


class Record:
    """One structure in memory, as it was at one instant.

    Attributes:
        address: where it is.
    """

    def __init__(self, structures: Structures, name: str, address: int, data: bytes) -> None:
        self._structures = structures
        self._name = name
        self._data = data
        self.address = address

    def number(self, path: str) -> int:
        """The value of a member, without sign; of an enumeration or a pointer too."""
        return self._structures.number(self.bytes(path)[:8])

    def bytes(self, path: str) -> bytes:
        """The bytes of a member.

        Raises:
            BtfError: there is none of that name.
            IntrospectionError: it lies outside of its structure.
        """
        member, size = self._structures.member(self._name, path)
        if member.offset + size > len(self._data):
            raise IntrospectionError(f"{path} lies outside of {self._name}")
        return self._data[member.offset : member.offset + size]

    def address_of(self, path: str) -> int:
        """Where a member is."""
        return (self.address + self._structures.member(self._name, path)[0].offset) % _WRAP
