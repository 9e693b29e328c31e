"""Reading integers and strings out of bytes one after another, never beyond their end."""

from __future__ import annotations

import struct
from typing import Literal, TypeAlias

from gprof.perfdata.errors import PerfDataError

#: The byte order of a whole file, in the letters of `struct` and numpy.
Order: TypeAlias = Literal["<", ">"]


class Cursor:
    """A place in some bytes that moves behind what was read.

    Args:
        data: the bytes.
        order: their byte order.
        at: where to begin.
        what: what the bytes are, for the error's sentence.
    """

    def __init__(self, data: bytes, order: Order, at: int = 0, *, what: str = "record") -> None:
        self.data = data
        self.order = order
        self.at = at
        self._what = what

    @property
    def left(self) -> int:
        """How many bytes lie behind the place."""
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        """The next `size` bytes.

        Raises:
            PerfDataError: there are fewer.
        """
        if size > self.left:
            raise PerfDataError(
                f"the {self._what} ends after {len(self.data)} bytes, "
                f"where {size} more were to follow byte {self.at}",
                "The file is damaged or cut off; record it again.",
            )
        found = self.data[self.at : self.at + size]
        self.at += size
        return found

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return self._integer("H", 2)

    def u32(self) -> int:
        return self._integer("I", 4)

    def i32(self) -> int:
        return self._integer("i", 4)

    def u64(self) -> int:
        return self._integer("Q", 8)

    def u64s(self, count: int) -> tuple[int, ...]:
        """The next `count` words."""
        data = self.take(8 * count)
        return struct.unpack(f"{self.order}{count}Q", data)

    def line(self) -> bytes:
        """The bytes up to the next zero byte, which is passed over; all where there is none."""
        end = self.data.find(b"\0", self.at)
        end = len(self.data) if end < 0 else end
        found = self.data[self.at : end]
        self.at = min(end + 1, len(self.data))
        return found

    def counted_string(self) -> bytes:
        """A u32 length and that many bytes, of which the first zero ends the string.

        Source: do_write_string in tools/perf/util/header.c of Linux 6.12.
        """
        return until_zero(self.take(self.u32()))

    def _integer(self, code: str, size: int) -> int:
        value: int = struct.unpack(self.order + code, self.take(size))[0]
        return value


def until_zero(data: bytes) -> bytes:
    """The bytes before the first zero byte."""
    return data.split(b"\0", 1)[0]
