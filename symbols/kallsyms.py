r"""The text of /proc/kallsyms or a System.map: what the kernel itself knows about its symbols.

The format is a line a symbol, `ADDRESS TYPE NAME[\t[MODULE]]` (kernel/kallsyms.c, s_show; types
as nm prints them). It has no sizes, aliases in no useful order, markers among the functions, and
modules' lines that are not sorted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from symbols.aliases import IGNORED_PREFIXES, LABEL_PREFIXES, best_aliases, starts_with
from symbols.errors import KallsymsError
from symbols.file_kinds import HEAD, looks_like
from symbols.files import read_bounded
from symbols.names import Names, printable
from symbols.space import ImageKind
from symbols.symbol_lines import KERNEL, SymbolLines
from symbols.table import SymbolTable

#: 200,000 lines are 10 MB; a kernel with everything and its modules stays below 50.
LARGEST = 128 << 20
_MOST_LINES = 4_000_000

#: drgn's bound for the size of a function (libdrgn/kallsyms.c); the largest of a distribution's
#: kernel has 13 KB, while the gap behind the last one can have 19 MB.
_LARGEST_FUNCTION = np.uint64(64 << 10)
_PAGE = np.uint64(4096)
_LAST = np.uint64((1 << 64) - 1)

_NIBBLE = np.full(256, 255, np.uint8)
for _i, _digits in enumerate(b"0123456789abcdef"):
    _NIBBLE[_digits] = _i
for _i, _digits in enumerate(b"ABCDEF"):
    _NIBBLE[_digits] = 10 + _i

_HIDDEN = (
    "As root inside the guest: echo 0 > /proc/sys/kernel/kptr_restrict, then copy the file "
    "again, as root (with the value 2 even root sees only zeros)."
)
_COPY_AGAIN = "Copy it again as a file: ssh root@GUEST cat /proc/kallsyms > kallsyms"


@dataclass(frozen=True, slots=True)
class Kallsyms:
    """What one text says.

    Attributes:
        kernel: functions of the kernel proper, without init text.
        modules: functions of each module, and of each kind of text made at run time
            (`bpf`, `__builtin__ftrace`, ...), by the name between the brackets.
        path: where the text came from, as shown to people.
        names: every listed symbol, data included.
        addresses: of each of `names`.
        in_kernel: which of `names` are of the kernel proper.
        initial: functions that run while the kernel boots, and are freed then.
    """

    kernel: SymbolTable
    modules: Mapping[str, SymbolTable]
    path: str
    names: Names
    addresses: NDArray[np.uint64]
    in_kernel: NDArray[np.bool_]
    initial: SymbolTable = field(default_factory=SymbolTable.empty)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Kallsyms:
        """The symbols of a file.

        Raises:
            KallsymsError: it cannot be read, is no such text, or its addresses are hidden.
        """
        shown, text = read_bounded(path, LARGEST, KallsymsError)
        return cls.parse(text, path=shown)

    @classmethod
    def parse(cls, text: bytes, *, path: str = "kallsyms") -> Kallsyms:
        """The symbols of a text.

        A last line without its end was cut off somewhere, and is left out.

        Raises:
            KallsymsError: it is no such text, or its addresses are hidden.
        """
        lines = _split(text, path)
        if not lines.address.any():
            raise KallsymsError(f"every address in {path} is zero: the guest hides them", _HIDDEN)
        kallsyms = cls.of(lines, path=path)
        if not (len(kallsyms.kernel) or any(map(len, kallsyms.modules.values()))):
            noun, advice = looks_like(text[:HEAD])
            raise KallsymsError(f"{path} lists no functions: it is {noun}", advice or _COPY_AGAIN)
        return kallsyms

    @classmethod
    def of(cls, lines: SymbolLines, *, path: str) -> Kallsyms:
        """The symbols of lines from elsewhere, such as the kernel's own tables in memory."""
        in_kernel = lines.owner == KERNEL
        # perf's choice (tools/perf/util/symbol.c, symbol_type__filter), without data.
        function = np.isin(lines.kind, np.frombuffer(b"tTwW", np.uint8)) & (lines.address != 0)
        function &= ~starts_with(lines.names, IGNORED_PREFIXES)
        below, initial = _not_lasting(lines, in_kernel)
        table = _Functions.choose(lines, function & ~(in_kernel & (below | initial)))
        return cls(
            table.of(KERNEL),
            {name: table.of(i) for i, name in enumerate(lines.owners)},
            path,
            lines.names,
            lines.address,
            in_kernel,
            _Functions.choose(lines, function & in_kernel & initial).of(KERNEL),
        )

    @property
    def text(self) -> tuple[int, int]:
        """Runtime addresses of the kernel's functions: first, and after the last; or (0, 0)."""
        if not len(self.kernel):
            return 0, 0
        return int(self.kernel.start[0]), int(self.kernel.end.max())

    def with_data(self, places: Mapping[str, int]) -> Kallsyms:
        """The same with data that the text does not list, by name."""
        return replace(
            self,
            names=Names.joined([self.names, Names.of(places)]),
            addresses=np.append(self.addresses, np.array([*places.values()], np.uint64)),
            in_kernel=np.append(self.in_kernel, np.ones(len(places), np.bool_)),
        )

    def address_of(self, name: str) -> int | None:
        """Where `name` is, data and per-cpu symbols included; the kernel's before a module's."""
        found = self.names.find(name)
        if not found:
            return None
        return int(self.addresses[min(found, key=lambda i: (not self.in_kernel[i], i))])


def owner_kind(owner: str) -> ImageKind:
    """What the name between brackets stands for: a module, or text made at run time.

    The kernel lists BPF programs as `bpf` and trampolines as `__builtin__ftrace`,
    `__builtin__kprobes` (kernel/kallsyms.c, kernel/bpf/core.c, kernel/trace/ftrace.c).
    """
    if owner == "bpf" or owner.startswith("__builtin__"):
        return ImageKind.GENERATED
    return ImageKind.MODULE


@dataclass(frozen=True, slots=True)
class _Functions:
    table: SymbolTable
    owner: NDArray[np.int64]

    @classmethod
    def choose(cls, lines: SymbolLines, wanted: NDArray[np.bool_]) -> _Functions:
        """The functions that are wanted of the lines: one name an address, where each ends."""
        rows = np.flatnonzero(wanted)
        rows = rows[
            best_aliases(
                lines.names.take(rows),
                lines.address[rows],
                sized=np.zeros(len(rows), np.bool_),
                weak=(lines.kind[rows] | 0x20) == ord("w"),
                exported=lines.kind[rows] == ord("T"),
            )
        ]
        start = lines.address[rows]
        table = SymbolTable(start, _ends(lines, start, lines.owner[rows]), lines.names.take(rows))
        return cls(table, lines.owner[rows])

    def of(self, owner: int) -> SymbolTable:
        rows = np.flatnonzero(self.owner == owner)
        table = self.table
        return SymbolTable(table.start[rows], table.end[rows], table.names.take(rows))


def _not_lasting(
    lines: SymbolLines, in_kernel: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which lines lie below the kernel's text, and which in text that is freed after booting.

    Per-cpu symbols are offsets from 0 (x86 before 6.15).
    """

    def at(name: str) -> int | None:
        found = [i for i in lines.names.find(name) if in_kernel[i] and lines.address[i]]
        return int(lines.address[found[0]]) if found else None

    below = np.zeros(len(lines.address), np.bool_)
    initial = below.copy()
    heads = [head for head in (at("_text"), at("_stext")) if head is not None]
    if heads:
        below |= lines.address < np.uint64(min(heads))
    for first, last in (("__init_begin", "__init_end"), ("_sinittext", "_einittext")):
        begin, end = at(first), at(last)
        if begin is not None and end is not None:
            initial |= (lines.address >= np.uint64(begin)) & (lines.address < np.uint64(end))
    return below, initial & ~below


def _ends(
    lines: SymbolLines, start: NDArray[np.uint64], owner: NDArray[np.int64]
) -> NDArray[np.uint64]:
    """Where each function ends: at the next symbol of any kind but a label, and not too far.

    As perf (tools/perf/util/symbol.c, symbols__fixup_end) where the next symbol is of another
    owner or there is none: at the end of the page after the function's first.
    """
    labels = starts_with(lines.names, LABEL_PREFIXES)
    placed = np.flatnonzero(((lines.kind | 0x20) != ord("a")) & ~labels)
    ordered = placed[np.argsort(lines.address[placed], kind="stable")]
    boundary = lines.address[ordered]
    after = np.searchsorted(boundary, start, side="right")
    last = after == len(boundary)
    following = np.append(boundary, _LAST)[after]
    same_owner = np.append(lines.owner[ordered], KERNEL)[after] == owner
    near = _PAGE + np.minimum(start, _LAST - np.uint64(2) * _PAGE)
    page_end = (near + _PAGE - np.uint64(1)) // _PAGE * _PAGE
    far = np.minimum(start, _LAST - _LARGEST_FUNCTION) + _LARGEST_FUNCTION
    # In the last pages of the address space the bounds above fall before the function.
    bound = np.where(same_owner & ~last, far, np.where(page_end > start, page_end, _LAST))
    return np.minimum(following, bound)


def _split(text: bytes, path: str) -> SymbolLines:
    if text.count(b"\n") > _MOST_LINES:
        raise KallsymsError(f"{path} has more than {_MOST_LINES} lines", _COPY_AGAIN)
    raw = np.frombuffer(text, np.uint8)
    newline = np.flatnonzero(raw == ord("\n"))
    start = np.concatenate([np.zeros(1, np.int64), newline + 1])
    end = np.append(newline, len(raw))
    # A serial console ends its lines with CR LF.
    has_return = end > start
    has_return[has_return] = raw[end[has_return] - 1] == ord("\r")
    end = end - has_return
    number = np.flatnonzero(end > start)
    # nm prints an undefined symbol with blanks for its address.
    number = number[raw[start[number]] != ord(" ")]
    if not len(number):
        noun, advice = looks_like(text[:HEAD])
        raise KallsymsError(f"{path} has no symbols: it is {noun}", advice or _COPY_AGAIN)
    start, end = start[number], end[number]

    width = text.find(b" ", int(start[0]), int(start[0]) + 17) - int(start[0])
    if width not in {8, 16}:
        raise _no_kallsyms(text, path, int(number[0]), int(start[0]), int(end[0]))
    address, good = _addresses(raw, start, end, width)
    name_start = start + width + 3
    tab, has_tab = _first_tabs(raw, start, end, name_start)
    name_end = np.where(has_tab, tab, end)
    good &= name_end > name_start
    good[has_tab] &= _bracketed(raw, tab[has_tab], end[has_tab])
    bad = np.flatnonzero(~good)
    if len(bad) and end[bad[0]] < len(raw):
        first = int(bad[0])
        raise _no_kallsyms(text, path, int(number[first]), int(start[first]), int(end[first]))
    # What is left of a cut line could pass for another symbol, even of another owner.
    good &= end < len(raw)
    if not good.any():
        raise KallsymsError(f"{path} has no whole line", _COPY_AGAIN)

    owner = np.full(len(start), KERNEL, np.int64)
    owners: dict[bytes, int] = {}
    tagged = np.flatnonzero(has_tab & good)
    tags = zip((tab[tagged] + 2).tolist(), (end[tagged] - 1).tolist(), strict=True)
    owner[tagged] = [owners.setdefault(text[a:b], len(owners)) for a, b in tags]
    kind = raw[np.minimum(start + width + 1, len(raw) - 1)]
    return SymbolLines(
        address[good],
        kind[good],
        Names(text, name_start[good], name_end[good]),
        owner[good],
        [printable(name) for name in owners],
    )


def _addresses(
    raw: NDArray[np.uint8], start: NDArray[np.int64], end: NDArray[np.int64], width: int
) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The address of each line, and whether the line has the shape of one up to its name."""
    good = end - start > width + 3
    safe = np.where(good, start, 0)
    if len(raw) <= width + 3:
        return np.zeros(len(start), np.uint64), np.zeros(len(start), np.bool_)
    nibbles = _NIBBLE[np.lib.stride_tricks.sliding_window_view(raw, width)[safe]]
    good &= (nibbles < 16).all(axis=1)
    # Two digits make a byte, and the bytes of a line its address, big end first.
    octets = np.ascontiguousarray(nibbles[:, 0::2] << 4 | nibbles[:, 1::2])
    address = octets.view(">u8" if width == 16 else ">u4")[:, 0].astype(np.uint64)
    kind = raw[safe + width + 1]
    letter = ((kind | 0x20) >= ord("a")) & ((kind | 0x20) <= ord("z"))
    good &= (raw[safe + width] == ord(" ")) & (raw[safe + width + 2] == ord(" "))
    return address, good & (letter | (kind == ord("?")))


def _first_tabs(
    raw: NDArray[np.uint8],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    name_start: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where the first tab behind each line's name is, and which lines have one."""
    tabs = np.append(np.flatnonzero(raw == ord("\t")), len(raw))
    tab = tabs[np.searchsorted(tabs, np.minimum(name_start, len(raw)))]
    return tab, (tab < end) & (tab > start)


def _bracketed(
    raw: NDArray[np.uint8], tab: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which lines have `[NAME]` between their tab and their end."""
    long_enough = end - tab > 3
    opening = np.where(long_enough, tab + 1, 0)
    closing = np.where(long_enough, end - 1, 0)
    brackets: NDArray[np.bool_] = (raw[opening] == ord("[")) & (raw[closing] == ord("]"))
    return long_enough & brackets


def _no_kallsyms(text: bytes, path: str, line: int, start: int, end: int) -> KallsymsError:
    if line == 0:
        noun, advice = looks_like(text[:HEAD])
        return KallsymsError(f"{path} is no kallsyms text: it is {noun}", advice or _COPY_AGAIN)
    shown = printable(text[start : min(end, start + 60)])
    return KallsymsError(f"line {line + 1} of {path} is no symbol: {shown}", _COPY_AGAIN)
