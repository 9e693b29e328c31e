"""Text of guests and users in the worst shape, on every view."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gprof.errors import TargetGone
from gprof.profile.profile import Guest, Profile
from gprof.sampling.source import SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import hostile
from tests.screens import golden
from tests.sessions import FrozenSession, SomeExits, frozen

HOSTILE = (
    "[vdso]", "[/]", "[a={'b[0]'}]", "[bold red]x[/bold red]", "\x1b[31m\x1b]0;title\x07red",
    "left\u202eright\u2066", "e" * 10_000, "漢字" * 5000, "line\nfeed\ttab\x00", "$variable @click",
)  # fmt: skip


def hostile_profile() -> Profile:
    """Every text that a guest or a user can bring, in the worst shape."""
    base = 0xFFFFFFFF81000000
    table = SymbolTable.of(
        [Symbol(name, base + 16 * i, base + 16 * i + 16) for i, name in enumerate(HOSTILE)]
    )
    end = base + 16 * len(HOSTILE)
    image = LoadedImage("[/red]\x1b[2J", ImageKind.KERNEL, base, end, table, 0)
    return replace(
        frozen(2),
        samples=SampleBatch.of(
            [base + 16 * i for i in range(len(HOSTILE)) for _ in range(i, len(HOSTILE))]
        ),
        spaces={0: AddressSpace([image])},
        guests={0: Guest(0, "\x1b[5m[/]" + "g" * 10_000, "[b]", (0,), "6.1\x1b[0m\u202e")},
        facts=replace(
            frozen(2).facts, target="[/]\x1b[H" + "t" * 10_000, notes=("[/] \x1b[2J note\nlines",)
        ),
    )


def test_text_from_outside_is_neither_markup_nor_escapes() -> None:
    failure = TargetGone("[/red] \x1b[2J gone", "[bold]do[/bold]\n\u202ethat")
    session = FrozenSession(hostile_profile(), failure=failure)
    seen = golden("hostile-100x30", session)
    assert all(c.isprintable() or c == "\n" for c in seen)
    for name in ("[vdso]", "[/]", "[a={'b[0]'}]", "[bold red]x[/bold red]", "$variable @click"):
        assert name in seen
    golden("hostile-notes-80x24", FrozenSession(hostile_profile()), size=(80, 24))


@pytest.mark.parametrize(
    ("name", "keys"),
    [("tree", "T"), ("tree-up", "T i"), ("flame", "f down"), ("symbols", "s"), ("modules", "m"),
     ("exits", "x m"), ("find", "f ctrl+f [ enter")],
)  # fmt: skip
def test_text_from_outside_is_neither_markup_nor_escapes_in_any_view(name: str, keys: str) -> None:
    session = FrozenSession(hostile())
    text = golden(f"hostile-{name}-100x30", session, keys=keys, exits=SomeExits(name="\x1b[2J[/]"))
    assert all(c.isprintable() or c == "\n" for c in text)
    for line in text.splitlines():
        assert len(line) <= 100
