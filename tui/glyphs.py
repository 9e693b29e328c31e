"""The marks that the screen draws with: block glyphs, or ASCII where a terminal lacks them."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of marks, each exactly one cell wide.

    Attributes:
        bar: growing parts of a bar's last cell; the last of them fills it.
        kernel: a cell of a vcpu's bar spent in the kernel.
        user: a cell spent in user space.
        other: a cell spent in firmware, in the hypervisor, or nobody knows where.
        idle: a cell spent idle.
        cursor: stands before the row under the cursor.
        falling: marks the column that rows are sorted by, largest first.
        rising: the same, smallest first.
        ellipsis: stands where text was cut.
        arrow: from an instruction to where it jumps.
        opened: stands before a node whose children follow.
        closed: stands before a node whose children are hidden.
        levels: rising parts of a cell, for lines over time.
        edge: the left edge of a frame.
        here: the left edge of the frame under the cursor.
        same: of a frame of the same function.
        found: of a frame that was looked for.
        first: where a range of time begins.
        last: where it ends.
        inside: what lies between.
        remove: a click here removes what stands before it.
        ascii: there is nothing in the set that ASCII lacks.
    """

    bar: str
    kernel: str
    user: str
    other: str
    idle: str
    cursor: str
    falling: str
    rising: str
    ellipsis: str
    arrow: str
    opened: str
    closed: str
    levels: str
    edge: str
    here: str
    same: str
    found: str
    first: str
    last: str
    inside: str
    remove: str
    ascii: bool


BLOCKS = Glyphs(
    bar="▏▎▍▌▋▊▉█",
    kernel="█",
    user="▒",
    other="▚",
    idle="·",
    cursor="▸",
    falling="▼",
    rising="▲",
    ellipsis="…",
    arrow="→",
    opened="▾",
    closed="▸",
    levels="▁▂▃▄▅▆▇█",
    edge="▏",
    here="▶",
    same="◆",
    found="●",
    first="├",
    last="┤",
    inside="─",
    remove="×",  # noqa: RUF001 - it is meant
    ascii=False,
)

ASCII = Glyphs(
    bar="#",
    kernel="K",
    user="u",
    other="?",
    idle=".",
    cursor=">",
    falling="v",
    rising="^",
    ellipsis="~",
    arrow=">",
    opened="-",
    closed="+",
    levels="_.:-=+*#",
    edge="|",
    here=">",
    same="=",
    found="*",
    first="[",
    last="]",
    inside="-",
    remove="x",
    ascii=True,
)


def glyphs_for(encoding: str | None, environment: Mapping[str, str]) -> Glyphs:
    """The marks that a terminal can show.

    Python speaks UTF-8 even in the C locale (PEP 538, PEP 540), so the encoding of the stream
    alone does not tell: a locale that somebody set to C, POSIX or another charset is believed.
    Where none is set, as in most containers, the stream decides. The console of Linux
    (`TERM=linux`) speaks UTF-8 with a font that has no eighths of blocks.

    Args:
        encoding: of the stream that the screen is written to; None where there is no stream.
        environment: the variables of the process.
    """
    if environment.get("TERM") == "linux" or not _is_utf8(encoding or "ascii"):
        return ASCII
    for variable in ("LC_ALL", "LC_CTYPE", "LANG"):
        if locale := environment.get(variable):
            return BLOCKS if _is_utf8(locale.partition(".")[2].partition("@")[0]) else ASCII
    return BLOCKS


def _is_utf8(charset: str) -> bool:
    try:
        return codecs.lookup(charset).name == "utf-8"
    except LookupError:
        return False
