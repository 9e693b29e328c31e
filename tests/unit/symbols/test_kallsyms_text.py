from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from symbols.kallsyms import Kallsyms
from symbols.kallsyms_text import write_kallsyms
from symbols.names import Names
from symbols.symbol_lines import KERNEL, SymbolLines

NAME = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
LINE = st.tuples(st.integers(0, (1 << 64) - 1), st.sampled_from("tTdDbBrRwWaA"), NAME)


def lines_of(
    listed: list[tuple[int, str, str]], owner: str = "", owners: tuple[str, ...] = ()
) -> SymbolLines:
    everyone = [*owners, *([owner] if owner else [])]
    number = len(everyone) - 1 if owner else KERNEL
    return SymbolLines(
        np.array([address for address, _, _ in listed], np.uint64),
        np.array([ord(kind) for _, kind, _ in listed], np.uint8),
        Names.of(name for _, _, name in listed),
        np.full(len(listed), number, np.int64),
        everyone,
    )


def test_text_is_that_of_the_kernel() -> None:
    core = lines_of([(0, "A", "percpu"), (0xFFFFFFFF81000000, "T", "_stext")])
    module = lines_of([(0xFFFFFFFFC0000010, "t", "go")], "zram", ("other",))
    again = lines_of([(0xFFFFFFFFC0000020, "d", "it")], "zram")
    assert write_kallsyms(SymbolLines.joined([core, module, again])) == (
        b"0000000000000000 A percpu\n"
        b"ffffffff81000000 T _stext\n"
        b"ffffffffc0000010 t go\t[zram]\n"
        b"ffffffffc0000020 d it\t[zram]\n"
    )


def test_nothing_is_an_empty_text() -> None:
    assert write_kallsyms(SymbolLines.joined([])) == b""


@given(st.lists(LINE, min_size=1), st.lists(LINE), st.lists(LINE))
def test_the_reader_reads_what_the_writer_wrote(
    core: list[tuple[int, str, str]],
    one: list[tuple[int, str, str]],
    two: list[tuple[int, str, str]],
) -> None:
    stext = [(0xFFFFFFFF81000000, "T", "_stext")]
    lines = SymbolLines.joined([
        lines_of([*stext, *core]), lines_of(one, "one"), lines_of(two, "two", ("one",)),
    ])  # fmt: skip
    text = write_kallsyms(lines)
    read = Kallsyms.parse(text)
    assert read.addresses.tolist() == lines.address.tolist()
    assert [read.names[i] for i in range(len(read.names))] == [
        lines.names[i] for i in range(len(lines))
    ]
    assert read.in_kernel.tolist() == (lines.owner == KERNEL).tolist()
    made = Kallsyms.of(lines, path="kallsyms")
    assert made.kernel.start.tolist() == read.kernel.start.tolist()
    for name in read.modules:
        assert read.modules[name].start.tolist() == made.modules[name].start.tolist()
