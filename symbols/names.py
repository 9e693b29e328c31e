"""Many names in one block of bytes, decoded only when somebody looks at one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

#: Longer names are cut: the kernel's KSYM_NAME_LEN is 512; C++ and Rust names are rarely longer.
LONGEST = 2048


def printable(raw: bytes | str) -> str:
    r"""A name from a guest or a file as text that is safe to show anywhere.

    Bytes that are no UTF-8 and characters that a terminal would obey instead of show (controls,
    escapes, bidirectional marks, line separators) appear as `\x1b` or `\u202e`; spaces at the
    ends are kept; anything beyond `LONGEST` characters is cut and marked with an ellipsis.
    """
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "backslashreplace")
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    if text.isprintable():  # neither C nor Zl nor Zp, says Python's reference of it
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    # C: controls, formats (bidi), surrogates, private; Zl, Zp: line and paragraph separators.
    category = unicodedata.category(character)
    if category[0] != "C" and category not in {"Zl", "Zp"}:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Names:
    """A sequence of names: `names[i]` is text, safe to show.

    Args:
        blob: the bytes that hold them, such as an ELF string table or the text of kallsyms.
        start: where each name begins in `blob`.
        end: where each name ends, exclusive.
    """

    __slots__ = ("_blob", "_by_start", "_end", "_start")

    def __init__(self, blob: bytes, start: NDArray[np.int64], end: NDArray[np.int64]) -> None:
        self._blob = blob
        self._start = start
        self._end = end
        self._by_start: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, texts: Iterable[str]) -> Names:
        """Names from text."""
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        end = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        start = np.concatenate([np.zeros(min(1, len(end)), np.int64), end[:-1]])
        return cls(b"".join(encoded), start, end)

    @classmethod
    def joined(cls, parts: Sequence[Names]) -> Names:
        """Several sequences behind one another."""
        none = np.empty(0, np.int64)
        columns = [part.columns() for part in parts]
        shifts = np.cumsum([0, *(len(blob) for blob, _, _ in columns)])[: len(parts)].tolist()
        shifted = list(zip(columns, shifts, strict=True))
        return cls(
            b"".join(blob for blob, _, _ in columns),
            np.concatenate([none, *(start + shift for (_, start, _), shift in shifted)]),
            np.concatenate([none, *(end + shift for (_, _, end), shift in shifted)]),
        )

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int) -> str:
        return printable(self.raw(index))

    def raw(self, index: int) -> bytes:
        """The name's bytes as they came."""
        return self._blob[self._start[index] : self._end[index]]

    def columns(self) -> tuple[bytes, NDArray[np.int64], NDArray[np.int64]]:
        """The bytes that hold the names, and where each begins and ends in them."""
        return self._blob, self._start, self._end

    def take(self, indices: NDArray[np.intp] | NDArray[np.int64]) -> Names:
        """The names at `indices`, sharing the same bytes."""
        return Names(self._blob, self._start[indices], self._end[indices])

    def find(self, name: str) -> list[int]:
        """Every index whose name is exactly `name`, ascending.

        Searches the bytes instead of decoding them all: a name is looked for a few times in a
        run, and a kernel has two hundred thousand.
        """
        wanted = name.encode("utf-8", "surrogateescape")
        if not wanted:
            return []
        if self._by_start is None:
            self._by_start = np.argsort(self._start, kind="stable")
        ordered = self._start[self._by_start]
        found: list[int] = []
        at = self._blob.find(wanted)
        while at >= 0:
            first, last = np.searchsorted(ordered, [at, at + 1])
            found += [
                int(i)
                for i in self._by_start[first:last]
                if self._end[i] - self._start[i] == len(wanted)
            ]
            at = self._blob.find(wanted, at + 1)
        return sorted(found)
