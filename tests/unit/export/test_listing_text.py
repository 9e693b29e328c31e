"""A listing as plain text."""

from __future__ import annotations

from gprof.export.listing import ListingText, folded_text, listing_text
from gprof.profile.hits import Totals
from gprof.profile.listing import Line, Listing, Measure
from symbols.disassembly import Flow, Instruction
from symbols.original import Patch
from symbols.patch_sites import PatchKind
from symbols.source_frames import SourceFrame
from symbols.space import ImageKind, LoadedImage, SymbolAt
from symbols.table import Symbol

START = 0xFFFFFFFF81000000
IMAGE = LoadedImage("[kernel]", ImageKind.KERNEL, START, START + 0x1000)
OWN = SourceFrame("fill", "mm/fill.c", 7)
INNER = SourceFrame("store", "mm/fill.h", 3)
NOP = Instruction(START, 1, b"\x90", "nop", "")
LISTING = Listing(
    SymbolAt(Symbol("fill", START, START + 10), IMAGE),
    0,
    (
        Line(START, b"\xcc", "int3", "int3", patch=Patch(PatchKind.BREAKPOINT, (NOP,)), was="nop",
             chain=(OWN,)),
        Line(START + 1, b"\xf3\xaa", "rep stosb", "rep stosb", 6, 60, note="(2 inside)",
             chain=(INNER, OWN)),
        Line(START + 3, b"\xe8\0\0\0\0", f"callq {START + 0x100:#x}", "callq empty", below=25,
             flow=Flow.CALL, target=START + 0x100, target_name="empty", chain=(OWN,)),
        Line(START + 8, b"\xeb\xf7", f"jmp {START + 1:#x}", "jmp +0x1", 4, 40,
             flow=Flow.JUMP, target=START + 1, target_name="+0x1", chain=(OWN,)),
    ),
    Totals(10, 100, 40, 400, 125),
    notes=("read shares\x1b[2J per block",),
)  # fmt: skip


def source(file: str, line: int) -> str | None:
    return {("mm/fill.c", 7): "    store(p);"}.get((file, line))


def test_the_text() -> None:
    assert list(listing_text(LISTING, None, source)) == [
        "fill  [kernel]  0xffffffff81000000  10 samples",
        r"note: read shares\x1b[2J per block",
        "",
        "  percent  samples   below  address",
        "                                         7     store(p);",
        "                            ffffffff81000000:     int3  # breakpoint, was: nop",
        "                                     store mm/fill.h:3 < fill mm/fill.c:7",
        ">   60.00        6          ffffffff81000001:  ┌▸ rep stosb  (2 inside)",
        "                                         7     store(p);",
        "                     20.00  ffffffff81000003:  │  callq empty",
        "    40.00        4          ffffffff81000008:  └─ jmp +0x1",
    ]


def test_everything_may_be_asked_for() -> None:
    shown = ListingText(
        measure=Measure(of_all=True, hits=True), encodings=True, offsets=True, raw=True,
        period=True, sources=False, ascii=True,
    )  # fmt: skip
    header, patched, hot, call, jump = list(listing_text(LISTING, shown))[3:]
    assert header == "  percent  samples       period   below  offset"
    assert patched.endswith("+0     :  cc                       int3  # breakpoint, was: nop (90)")
    assert hot.startswith(">   15.00        6           60          +1     :  f3aa ")
    assert hot.endswith(" ,> rep stosb  (2 inside)")
    assert call.startswith(f"{'6.25':>39}  +3     :  e800000000 ")
    assert call.endswith(" |  callq 0xffffffff81000100  -> empty")
    assert jump.endswith(" '- jmp 0xffffffff81000001  -> +0x1")


def test_sums_by_line_and_by_function() -> None:
    assert list(folded_text(LISTING, None, source))[3:] == [
        "     self   total  samples  source",
        "    40.00  100.00        4  fill  mm/fill.c",
        "    40.00  100.00        4        7     store(p);",
        "    60.00   60.00        6  store (inlined)  mm/fill.h",
        "    60.00   60.00        6      mm/fill.h:3",
    ]
    assert len(list(folded_text(LISTING, None, source, by_line=False))) == 3 + 1 + 2
