"""BTF made record by record."""

from __future__ import annotations

import struct

INT, POINTER, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF = 1, 2, 3, 4, 5, 6, 7, 8
CONST, FUNC, VAR, DECL_TAG, ENUM64 = 10, 12, 14, 17, 19


class Blob:
    """Builds a BTF record by record, in either byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.strings = b"\0"
        self.types = b""
        self.count = 0

    def string(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def words(self, *words: int) -> bytes:
        return b"".join(struct.pack(self.order + "I", word & 0xFFFFFFFF) for word in words)

    def add(
        self, kind: int, name: str, size: int, *tail: int, count: int = 0, flag: bool = False
    ) -> int:
        info = kind << 24 | count | (flag << 31)
        self.types += self.words(self.string(name), info, size, *tail)
        self.count += 1
        return self.count

    def struct(
        self, name: str, size: int, *members: tuple[str, int, int], kind: int = STRUCT,
        flag: bool = False,
    ) -> int:  # fmt: skip
        tail = [word for text, t, at in members for word in (self.string(text), t, at)]
        return self.add(kind, name, size, *tail, count=len(members), flag=flag)

    def bytes(self, header: int = 24) -> bytes:
        types = len(self.types)
        head = struct.pack(
            self.order + "HBBIIIII", 0xEB9F, 1, 0, header, 0, types, types, len(self.strings)
        )
        return head.ljust(header, b"\0") + self.types + self.strings
