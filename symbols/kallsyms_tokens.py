"""The kernel's compressed symbol names: 256 tokens, and for each name the bytes that pick them.

The encoding is that of Linux's scripts/kallsyms.c (compress_symbols, write_src): a name is its
length in bytes and then as many numbers of tokens; the first character of what they spell is the
type of the symbol. Since 6.1 (commit 73bbb94466fd) a length above 127 has a second byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from symbols.errors import IntrospectionError
from symbols.names import Names

TOKENS = 256
#: Bytes of token_index: an offset of two bytes for each token.
INDEX_SIZE = 2 * TOKENS
#: The longest token is a whole name, of 511 characters at most (KSYM_NAME_LEN).
LONGEST_TOKEN = 512
#: All tokens together: half of them are two characters, the others rarely over twenty.
LARGEST_TABLE = 1 << 16
#: The names of two hundred thousand symbols have 5 MiB.
_LARGEST_TEXT = 256 << 20


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one kernel.

    Attributes:
        text: all of them, behind one another, each with a zero at its end.
        start: where each begins.
        length: of each, without the zero.
    """

    text: NDArray[np.uint8]
    start: NDArray[np.int64]
    length: NDArray[np.int64]

    @classmethod
    def read(cls, table: bytes, index: bytes, *, little_endian: bool) -> Tokens:
        """The tokens in kallsyms_token_table and kallsyms_token_index.

        Args:
            table: the bytes of the first, and whatever is behind them.
            index: the 512 bytes of the second.
            little_endian: the guest's byte order.

        Raises:
            IntrospectionError: the two contradict each other.
        """
        if len(index) != INDEX_SIZE:
            raise IntrospectionError("the index of the kernel's name tokens is cut short")
        start = np.frombuffer(index, "<u2" if little_endian else ">u2").astype(np.int64)
        text = np.frombuffer(table, np.uint8)
        zeros = np.flatnonzero(text == 0)
        after = np.searchsorted(zeros, start)
        if start[0] != 0 or (after >= len(zeros)).any():
            raise IntrospectionError("the kernel's name tokens and their index do not fit")
        end = zeros[after]
        # Each token begins behind the zero of the one before.
        if (start[1:] != end[:-1] + 1).any() or (end - start > LONGEST_TOKEN).any():
            raise IntrospectionError("the kernel's name tokens and their index do not fit")
        return cls(text, start, end - start)


@dataclass(frozen=True, slots=True)
class Spelled:
    """Names spelled out.

    Attributes:
        kind: u8, the letter of each symbol's type.
        names: their names.
        size: how many of the bytes given they took.
    """

    kind: NDArray[np.uint8]
    names: Names
    size: int


def spell(data: bytes, count: int, tokens: Tokens) -> Spelled:
    """The first `count` names in the bytes of kallsyms_names.

    Nothing says which of the two forms of lengths a kernel has. They differ where a length is
    above 127, and there the wrong one loses its way: some name then starts with no letter.

    Raises:
        IntrospectionError: the bytes are no such names in either form.
    """
    for long_lengths in (True, False):
        walked = walk(data, count, long_lengths=long_lengths)
        if walked is None:
            continue
        start, end = walked
        spelled = _spelled(data, start, end, tokens)
        if spelled is not None:
            return spelled
    raise IntrospectionError(f"there are no {count} names of symbols in the kernel's tables")


def walk(
    data: bytes, count: int, *, long_lengths: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Where the tokens of each name begin and end; None if the names do not fit `data`."""
    starts = []
    ends = []
    at, size = 0, len(data)
    for _ in range(count):
        if at + 2 > size:
            return None
        length = data[at]
        at += 1
        if long_lengths and length & 0x80:
            length = length & 0x7F | data[at] << 7
            at += 1
        starts.append(at)
        at += length
        ends.append(at)
        if not length:
            return None
    return (np.array(starts, np.int64), np.array(ends, np.int64)) if at <= size else None


def _spelled(
    data: bytes, start: NDArray[np.int64], end: NDArray[np.int64], tokens: Tokens
) -> Spelled | None:
    size = int(end[-1]) if len(end) else 0
    # Everything up to the last name but the bytes of lengths.
    edges = np.zeros(size + 1, np.int8)
    np.add.at(edges, start, 1)
    np.add.at(edges, end, -1)
    picked = np.frombuffer(data, np.uint8, size)[np.cumsum(edges[:-1]) > 0]
    lengths = tokens.length[picked]
    total = int(lengths.sum())
    if total > _LARGEST_TEXT:
        return None
    begins = np.cumsum(lengths) - lengths
    # Character i of the text is character i - begins of its token.
    source = np.repeat(tokens.start[picked] - begins, lengths) + np.arange(total)
    text = tokens.text[source]
    name_end = np.append(begins, total)[np.cumsum(end - start)]
    name_start = np.concatenate([np.zeros(min(1, len(end)), np.int64), name_end[:-1]])
    if (name_end - name_start < 2).any():
        return None
    kind = text[name_start]
    letter = ((kind | 0x20) >= ord("a")) & ((kind | 0x20) <= ord("z"))
    if not (letter | (kind == ord("?"))).all():
        return None
    return Spelled(kind, Names(text.tobytes(), name_start + 1, name_end), size)
