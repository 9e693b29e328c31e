"""A listing as plain text."""

from __future__ import annotations

from gprof.export.listing import listing_text
from gprof.profile.listing import Line, Listing

LISTING = Listing(
    "fill  [kernel]  0xffffffff81000000",
    (
        Line(0xFFFFFFFF81000000, 0, 0.0, b"\x90", "nop", None, "", ""),
        Line(0xFFFFFFFF81000001, 6, 60.0, b"\xf3\xaa", "rep stosb", None, "", "(2 inside)"),
        Line(0xFFFFFFFF81000003, 4, 40.0, b"\xeb\xfb", "jmp 0xffffffff81000000",
             0xFFFFFFFF81000000, "fill", ""),
    ),
    10,
    ("read shares\x1b[2J per block",),
)  # fmt: skip


def test_the_text() -> None:
    assert list(listing_text(LISTING)) == [
        "fill  [kernel]  0xffffffff81000000  10 samples",
        r"note: read shares\x1b[2J per block",
        "",
        "  percent  samples  address",
        "                    ffffffff81000000:  nop",
        ">   60.00        6  ffffffff81000001:  rep stosb  (2 inside)",
        "    40.00        4  ffffffff81000003:  jmp 0xffffffff81000000  -> fill",
    ]


def test_encodings_are_aligned() -> None:
    texts = list(listing_text(LISTING, encodings=True))
    assert texts[4] == "                    ffffffff81000000:  90                    nop"
    assert "  f3aa                  rep stosb" in texts[5]
