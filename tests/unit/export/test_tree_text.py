"""Trees of calls as text: downwards, inverted, around one function."""

from __future__ import annotations

import re

from gprof.export.tree import TextTree
from gprof.profile.profile import Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tree import Direction, call_tree
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable

BASE = 0xFFFF_FFFF_8100_0000
NAMES = ("start", "walk", "read\x1b[31m", "copy")
AT = {name: BASE + 0x100 * i for i, name in enumerate(NAMES)}
SPACE = AddressSpace(
    [
        LoadedImage(
            "[kernel]",
            ImageKind.KERNEL,
            BASE,
            BASE + 0x1000,
            SymbolTable.of([Symbol(name, at, at + 0x100) for name, at in AT.items()]),
        )
    ]
)
# Root first; walk calls itself.
PATHS = {
    ("start", "walk", "walk", "copy"): 6,
    ("start", "walk", "copy"): 3,
    ("start", "read\x1b[31m", "copy"): 1,
}


def profile() -> Profile:
    stacks = StackTable()
    pcs, numbers = [], []
    for path, count in PATHS.items():
        leaf, *callers = (AT[name] for name in reversed(path))
        # Each call is the last instruction of its function: it returns to the next one's first.
        number = stacks.add((leaf, *(at + 0x100 for at in callers)))
        pcs += [leaf] * count
        numbers += [number] * count
    samples = SampleBatch.of(pcs, stack=numbers)
    facts = SourceFacts("gdbstub", "x", unwound_by="orc", endings={"user": 9, "no_rule": 1})
    return Profile(samples, facts, {}, {0: SPACE}, stacks=stacks)


def shown(tree: TextTree) -> list[str]:
    lines = tree.text(profile()).splitlines()
    return [re.sub(r"\s+", " ", line).strip() for line in lines if not line.startswith("#")]


def test_from_the_roots_down() -> None:
    assert shown(TextTree()) == [
        "100.00 0.00 start", "90.00 0.00 walk", "60.00 0.00 walk", "60.00 60.00 copy",
        "30.00 30.00 copy", "10.00 0.00 read\\x1b[31m", "10.00 10.00 copy",
    ]  # fmt: skip


def test_from_the_leaves_up() -> None:
    assert shown(TextTree(direction=Direction.UP)) == [
        "100.00 copy", "90.00 walk", "60.00 walk", "60.00 start", "30.00 start",
        "10.00 read\\x1b[31m", "10.00 start",
    ]  # fmt: skip


def test_around_a_function_no_sample_counts_twice() -> None:
    down = call_tree(profile(), around="walk")
    up = call_tree(profile(), around="walk", direction=Direction.UP)
    assert down.total == up.total == 9
    (walk,) = down.children()
    assert {child.name: child.total for child in walk.children()} == {"walk": 6, "copy": 3}
    (walk,) = up.children()
    assert {child.name: child.total for child in walk.children()} == {"walk": 6, "start": 3}


def test_what_is_small_is_counted_and_the_heading_says_what_was_cut() -> None:
    text = TextTree(smallest=20).text(profile())
    assert "read" not in text
    assert "# 1 branches with less than 20 % are not shown" in text
    assert "# stacks   10 by orc, 90.00 % of them whole" in text
    assert "#          10.00 % cut: no unwind table covers the code" in text
    assert "# no samples" in TextTree(around="nothing").text(profile())
