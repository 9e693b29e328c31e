"""The kernel's table of symbols as scripts/kallsyms.c of its many versions writes it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from symbols.kallsyms_memory import Encoding, KallsymsTables

Listed = Sequence[tuple[int, str, str]]

_WORDS = ["function", "_number_", "tfunction", "Tfunction", "init", "__", "00", "vfs_read", "_do_"]


def tokens() -> list[bytes]:
    """256 tokens: printable characters stand for themselves, the others for words, or nothing."""
    free = [i for i in range(256) if not 33 <= i < 127]
    chosen = [bytes([i]) for i in range(256)]
    for n, i in enumerate(free):
        chosen[i] = _WORDS[n].encode() if n < len(_WORDS) else b""
    return chosen


@dataclass(frozen=True)
class Layout:
    """One generation of the table."""

    encoding: Encoding = Encoding.PERCPU
    late: bool = False  # offsets behind the tokens, since 6.4
    marker: int = 4
    long_lengths: bool = True
    sequences: bool = False
    little: bool = True
    alignment: int = 8

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


#: Each with the kernels that have it.
LAYOUTS = {
    "4.4": Layout(Encoding.ABSOLUTE, marker=8, long_lengths=False),
    "4.6 x86": Layout(Encoding.PERCPU, marker=8, long_lengths=False),
    "4.14 arm64": Layout(Encoding.RELATIVE, marker=8, long_lengths=False),
    "5.10 x86": Layout(Encoding.PERCPU, long_lengths=False),
    "5.10 absolute": Layout(Encoding.ABSOLUTE, long_lengths=False),
    "6.1 x86": Layout(Encoding.PERCPU, sequences=True),
    "6.1 s390": Layout(Encoding.RELATIVE, little=False),
    "6.3 arm64": Layout(Encoding.RELATIVE, sequences=True),
    "6.6 x86": Layout(Encoding.PERCPU, late=True, sequences=True),
    "6.6 absolute": Layout(Encoding.ABSOLUTE, late=True, sequences=True),
    "6.12 arm64": Layout(Encoding.RELATIVE, late=True, sequences=True),
    "6.15 x86": Layout(Encoding.RELATIVE, late=True, sequences=True),
    "7.0": Layout(Encoding.PLACE, late=True, sequences=True),
    "7.2": Layout(Encoding.PLACE, late=True, sequences=True, alignment=4),
    "7.0 s390": Layout(Encoding.PLACE, late=True, sequences=True, little=False),
}


def build(listed: Listed, layout: Layout, at: int) -> tuple[bytes, KallsymsTables]:
    """The bytes of the table where its first part is at `at`, and where its parts are."""
    names, markers = _names(listed, layout)
    order = layout.order
    table = tokens()
    text = b"".join(token + b"\0" for token in table)
    offsets, place = [], 0
    for token in table:
        offsets.append(place)
        place += len(token) + 1
    index = struct.pack(f"{order}256H", *offsets)
    count = struct.pack(order + ("Q" if layout.marker == 8 else "I"), len(listed))
    marks = struct.pack(f"{order}{len(markers)}{'Q' if layout.marker == 8 else 'I'}", *markers)
    seqs = b"".join(i.to_bytes(3, "big") for i in range(len(listed)))[::-1]
    base = min((a for a, _, _ in listed if a >> 32), default=listed[0][0])
    width = 8 if layout.encoding is Encoding.ABSOLUTE else 4
    based = layout.encoding in {Encoding.PERCPU, Encoding.RELATIVE}
    values = ("values", bytes(width * len(listed)))
    relative = [("base", struct.pack(order + "Q", base))] if based else []
    first = [("count", count), ("names", names), ("markers", marks)]
    last = [("table", text), ("index", index)]
    extra = [("sequences", seqs)] if layout.sequences else []
    parts = (
        [*first, *last, values, *relative, *extra]
        if layout.late
        else [values, *relative, *first, *extra, *last]
    )
    places: dict[str, int] = {}
    blob = b""
    for name, data in parts:
        blob += bytes(-len(blob) % layout.alignment)
        places[name] = at + len(blob)
        blob += data
    filled = _values(listed, layout, base, places["values"])
    begin = places["values"] - at
    blob = blob[:begin] + filled + blob[begin + len(filled) :]
    return blob, KallsymsTables(
        places["names"],
        len(listed),
        places["table"],
        places["index"],
        places["values"],
        base if based else None,
        layout.encoding is Encoding.ABSOLUTE,
        layout.little,
    )


def _names(listed: Listed, layout: Layout) -> tuple[bytes, list[int]]:
    words = sorted(
        ((token, i) for i, token in enumerate(tokens()) if token), key=lambda t: -len(t[0])
    )
    by_initial: dict[int, list[tuple[bytes, int]]] = {}
    for token, i in words:
        by_initial.setdefault(token[0], []).append((token, i))
    names = bytearray()
    markers = []
    for number, (_, kind, name) in enumerate(listed):
        if number % 256 == 0:
            markers.append(len(names))
        text = (kind + name).encode()
        picked = bytearray()
        at = 0
        while at < len(text):
            token, i = next(t for t in by_initial[text[at]] if text.startswith(t[0], at))
            picked.append(i)
            at += len(token)
        if len(picked) > 127 and layout.long_lengths:
            names += bytes([len(picked) & 0x7F | 0x80, len(picked) >> 7])
        else:
            names.append(len(picked))
        names += picked
    return bytes(names), markers


def _values(listed: Listed, layout: Layout, base: int, at: int) -> bytes:
    order = layout.order
    if layout.encoding is Encoding.ABSOLUTE:
        return struct.pack(f"{order}{len(listed)}Q", *(a for a, _, _ in listed))
    if layout.encoding is Encoding.PLACE:
        return struct.pack(
            f"{order}{len(listed)}i", *(a - (at + 4 * i) for i, (a, _, _) in enumerate(listed))
        )
    if layout.encoding is Encoding.RELATIVE:
        return struct.pack(f"{order}{len(listed)}I", *(a - base for a, _, _ in listed))
    return struct.pack(
        f"{order}{len(listed)}i", *(a if a < base else base - 1 - a for a, _, _ in listed)
    )
