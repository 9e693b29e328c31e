"""A guest's memory in pieces that a test writes into before it is looked at."""

from __future__ import annotations

import struct

from symbols.memory import BytesMemory, Memory


class WrittenMemory:
    """Pieces of memory by their addresses.

    Args:
        order: of the bytes of words, `<` or `>`.
    """

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.pieces: dict[int, bytearray] = {}

    def put(self, at: int, data: bytes) -> None:
        """A new piece."""
        self.pieces[at] = bytearray(data)

    def write(self, at: int, data: bytes) -> None:
        """Bytes within a piece."""
        start = max(piece for piece in self.pieces if piece <= at)
        assert at + len(data) <= start + len(self.pieces[start])
        self.pieces[start][at - start : at - start + len(data)] = data

    def words(self, at: int, *words: int) -> None:
        """Words of 64 bits within a piece."""
        self.write(at, struct.pack(f"{self.order}{len(words)}Q", *words))

    @property
    def memory(self) -> Memory:
        """What there is now."""
        return BytesMemory((at, bytes(data)) for at, data in self.pieces.items())
