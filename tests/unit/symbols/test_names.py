from __future__ import annotations

import unicodedata

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from symbols.aliases import best_aliases, is_marker, starts_with
from symbols.names import LONGEST, Names, printable

SHORT = st.text("ab_$", max_size=4)


@given(st.lists(SHORT), SHORT)
def test_find_is_every_index_of_the_name(texts: list[str], wanted: str) -> None:
    expected = [i for i, text in enumerate(texts) if text == wanted and wanted]
    assert Names.of(texts).find(wanted) == expected


@given(st.lists(SHORT, min_size=1), st.data())
def test_names_that_share_bytes(texts: list[str], data: st.DataObject) -> None:
    """As in a string table, where the end of one name is another."""
    blob = "\0".join(texts).encode()
    start = data.draw(st.lists(st.integers(0, len(blob)), max_size=6))
    ends = [blob.find(b"\0", s) if blob.find(b"\0", s) >= 0 else len(blob) for s in start]
    names = Names(blob, np.array(start, np.int64), np.array(ends, np.int64))
    for i, (a, b) in enumerate(zip(start, ends, strict=True)):
        text = blob[a:b].decode()
        assert names[i] == text
        if text:
            assert i in names.find(text)


@given(st.lists(SHORT), st.lists(SHORT, max_size=3))
def test_starts_with(texts: list[str], prefixes: list[str]) -> None:
    found = starts_with(Names.of(texts), [prefix.encode() for prefix in prefixes])
    assert found.tolist() == [any(t.startswith(p) for p in prefixes) for t in texts]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
@example("\x1b[31mred")
@example("a\u202eb\u2028c\u2066")
@example(b"\xff\xfe\x00")
@example("x" * (LONGEST + 5))
@example("\ud800")
def test_printable_is_safe_to_show(raw: bytes | str) -> None:
    shown = printable(raw)
    for character in shown:
        category = unicodedata.category(character)
        assert category[0] != "C"
        assert category not in {"Zl", "Zp"}
    shown.encode()
    assert "\n" not in shown


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=50))
def test_printable_keeps_plain_names(name: str) -> None:
    assert printable(name) == name
    assert printable(name.encode()) == name


def chosen(names: list[str], *, sized: str = "", weak: str = "", exported: str = "") -> list[str]:
    """Of names at one address; the other strings say which have the property, by a 1."""
    count = len(names)

    def column(text: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array([c == "1" for c in text.ljust(count, "0")], np.bool_)

    found = best_aliases(
        Names.of(names),
        np.zeros(count, np.uint64),
        sized=column(sized),
        weak=column(weak),
        exported=column(exported),
    )
    return [names[i] for i in found]


def test_which_alias_is_shown() -> None:
    assert chosen(["long_without_size", "sized"], sized="01") == ["sized"]
    assert chosen(["memmove", "__memmove"], weak="10") == ["__memmove"]
    assert chosen(["local_name", "global"], exported="01") == ["global"]
    assert chosen(["__under", "plain"]) == ["plain"]
    assert chosen(["short", "longer"]) == ["longer"]
    assert chosen(["startup_64", "_stext", "_text"], sized="011") == ["startup_64"]
    assert chosen(["default_idle", "__cpuidle_text_start"]) == ["default_idle"]
    assert chosen(["__do_sys_getpid", "__ia32_sys_getpid", "__x64_sys_getpid"], exported="011") == [
        "__x64_sys_getpid"
    ]
    assert chosen(["sys_read", "SyS_read"]) == ["sys_read"]
    assert chosen(["__pi_memcpy", "memcpy"]) == ["memcpy"]
    label = "swapgs_restore_regs_and_return_to_usermode"
    assert chosen(["common_interrupt_return", label], exported="01") == ["common_interrupt_return"]
    assert chosen([label], exported="1") == [label]


def test_a_marker_alone_is_no_name() -> None:
    assert chosen(["__kprobes_text_start", "__kprobes_text_end"]) == []
    assert chosen(["_etext"]) == []
    assert chosen(["_stext"]) == ["_stext"]


def test_what_is_a_marker() -> None:
    for marker in (b"_etext", b"_sinittext", b"__init_begin", b"__irqentry_text_end", b"_end"):
        assert is_marker(marker)
    for function in (b"text_start", b"do_text_end", b"__init_begin_io", b"schedule", b"__text"):
        assert not is_marker(function)
