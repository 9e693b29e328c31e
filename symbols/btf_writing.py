"""BTF in the making, for types that come from elsewhere than a kernel's own description."""

from __future__ import annotations

import struct

from symbols.btf import LARGEST
from symbols.errors import BtfError

_HEADER_SIZE = 24


class BtfWriting:
    """Takes down types, one record after the other.

    The words of a record are those of include/uapi/linux/btf.h: its name, its kind and how many
    things it counts, its size or the type it refers to, and what follows by kind.

    Args:
        little_endian: the byte order of the guest.
    """

    def __init__(self, *, little_endian: bool) -> None:
        self._order = "<" if little_endian else ">"
        self._types: list[int] = []
        self._strings = bytearray(b"\0")
        self._known: dict[bytes, int] = {b"": 0}
        self.count = 0

    def string(self, name: bytes) -> int:
        """The number that stands for a name."""
        if name not in self._known:
            self._known[name] = len(self._strings)
            self._strings += name.split(b"\0", 1)[0] + b"\0"
        return self._known[name]

    def add(self, *words: int) -> int:
        """Take down one type; its number."""
        self._types += words
        self.count += 1
        return self.count

    def content(self) -> bytes:
        """All of it, with its header.

        Raises:
            BtfError: it is more than any kernel has.
        """
        types = struct.pack(f"{self._order}{len(self._types)}I", *self._types)
        if max(len(types), len(self._strings)) > LARGEST:
            raise BtfError("the debugging information describes more types than any kernel has")
        sizes = (_HEADER_SIZE, 0, len(types), len(types), len(self._strings))
        head = struct.pack(self._order + "HBBIIIII", 0xEB9F, 1, 0, *sizes)
        return head + types + self._strings
