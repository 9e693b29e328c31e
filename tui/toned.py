"""Text in tones: what every line of the screen is made of. Never markup, never an escape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TypeAlias

from rich.cells import cell_len, set_cell_size

from symbols.names import printable


class Tone(StrEnum):
    """What a piece of text is; `tui.looks` says how that looks."""

    PLAIN = "plain"
    DIM = "dim"
    STRONG = "strong"
    TITLE = "title"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    HOT = "hot"
    WARM = "warm"
    COOL = "cool"
    KERNEL = "kernel"
    USER = "user"
    OTHER = "other"
    IDLE = "idle"
    PILL = "pill"
    FOUND = "found"
    TAB = "tab"
    TAB_HERE = "tab-here"
    KEY = "key"
    PICKED = "picked"
    FRAME_ROOT = "frame-root"
    FRAME_KERNEL = "frame-kernel"
    FRAME_MODULE = "frame-module"
    FRAME_USER = "frame-user"
    FRAME_KERNEL_2 = "frame-kernel-2"
    FRAME_MODULE_2 = "frame-module-2"
    FRAME_USER_2 = "frame-user-2"
    FRAME_IDLE = "frame-idle"
    FRAME_FIRMWARE = "frame-firmware"
    FRAME_UNKNOWN = "frame-unknown"
    FRAME_FOUND = "frame-found"
    FRAME_SAME = "frame-same"
    FRAME_HERE = "frame-here"
    BADGE_LIVE = "badge-live"
    BADGE_PAUSED = "badge-paused"
    BADGE_ENDED = "badge-ended"
    BADGE_BAD = "badge-bad"


#: Some text and its tone.
Piece: TypeAlias = tuple[str, Tone]


def width_of(pieces: Iterable[Piece]) -> int:
    """How many terminal cells the pieces take."""
    return sum(cell_len(text) for text, _ in pieces)


def fit(text: str, width: int, ellipsis: str = "…", *, right: bool = False) -> str:
    """`text`, made safe to show, in exactly `width` cells: cut with an ellipsis, or padded.

    A wide character that would stick out half is replaced by a space.
    """
    text = printable(text)
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        if width <= 0:
            return ""
        return set_cell_size(text, width - 1) + ellipsis
    padding = " " * (width - length)
    return padding + text if right else text + padding


def lay(
    left: Sequence[Piece], right: Sequence[Piece], width: int, ellipsis: str = "…"
) -> list[Piece]:
    """One line of exactly `width` cells: `right` stays whole if it can, `left` is cut."""
    safe = [(printable(text), tone) for text, tone in right]
    kept = _cut(safe, width, ellipsis)
    room = width - width_of(kept)
    if left and kept:
        room -= 1
    line = _cut([(printable(text), tone) for text, tone in left], room, ellipsis)
    gap = width - width_of(line) - width_of(kept)
    return [*line, (" " * gap, Tone.PLAIN), *kept]


def joined(items: Iterable[Sequence[Piece]], gap: str = "  ") -> list[Piece]:
    """The pieces of several items, with a gap between them; empty items leave none."""
    pieces: list[Piece] = []
    for item in items:
        if item and pieces:
            pieces.append((gap, Tone.PLAIN))
        pieces.extend(item)
    return pieces


def _cut(pieces: Sequence[Piece], room: int, ellipsis: str) -> list[Piece]:
    if width_of(pieces) <= room:
        return list(pieces)
    kept: list[Piece] = []
    for text, tone in pieces:
        length = cell_len(text)
        if length >= room:
            # Even text that just fits loses its last cell: more was to follow.
            kept.append((fit(text + " ", room, ellipsis), tone))
            break
        kept.append((text, tone))
        room -= length
    return kept
