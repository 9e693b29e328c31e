from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.errors import ModulesError
from symbols.modules import Module, open_modules, parse_modules

TEXT = b"""\
ext4 983040 1 - Live 0xffffffffc0426000
crc16 16384 1 ext4, Live 0xffffffffc0421000
out_of_tree 4096 0 [permanent], Unloading 0xffffffffc0300000 (OE)
virtio 20480 2 9pnet_virtio,virtio_pci, Loading 0xffffffffc0331000
"""


def test_modules_by_address() -> None:
    assert parse_modules(TEXT) == (
        Module("out_of_tree", 0xFFFFFFFFC0300000, 4096),
        Module("virtio", 0xFFFFFFFFC0331000, 20480),
        Module("crc16", 0xFFFFFFFFC0421000, 16384),
        Module("ext4", 0xFFFFFFFFC0426000, 983040),
    )


def test_a_kernel_without_reference_counts() -> None:
    assert parse_modules(b"a 4096 - - Live 0xc0300000\n") == (Module("a", 0xC0300000, 4096),)


def test_no_modules_is_no_error() -> None:
    assert parse_modules(b"") == ()


def test_a_last_line_cut_off_is_left_out() -> None:
    assert parse_modules(TEXT[:-20]) == tuple(m for m in parse_modules(TEXT) if m.name != "virtio")
    assert len(parse_modules(TEXT[:-1])) == 4
    for cut in range(2, 60):
        assert len(parse_modules(TEXT[:-cut])) == 3, TEXT[:-cut]


def test_hidden_addresses() -> None:
    with pytest.raises(ModulesError, match="every address") as caught:
        parse_modules(b"a 4096 0 - Live 0x0000000000000000\n")
    assert "kptr_restrict" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (b"Module                  Size  Used by\next4  983040  1\n", "line 1"),
        (b"\x7fELF\x02\x01" + bytes(100), "ELF"),
        (TEXT + b"nonsense\n" + TEXT, "line 5"),
        (b"a 9999999999 0 - Live 0xffffffffc0426000\n", "line 1"),
        (b"a 8192 0 - Live 0xfffffffffffff000\n", "line 1"),
        (b"a 8192 0 - Live 0xffffffffc04260ff00\n", "line 1"),
        (b"\x1b[31m\n", "line 1"),
        (b"\n" * 70000, "lines"),
    ],
)
def test_what_is_no_modules_text_is_refused(text: bytes, seen: str) -> None:
    with pytest.raises(ModulesError) as caught:
        parse_modules(text)
    assert seen in caught.value.problem
    assert "/proc/modules" in caught.value.remedy
    assert "\x1b" not in str(caught.value)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "modules").write_bytes(TEXT)
    assert len(open_modules(tmp_path / "modules")) == 4
    with pytest.raises(ModulesError, match="does not exist"):
        open_modules(tmp_path / "absent")


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200)
    | st.lists(
        st.sampled_from([*TEXT.splitlines(keepends=True), b" ", b"\n", b"0x", b"\xff", b"a 1"])
    ).map(b"".join)
)
def test_any_text_gives_modules_or_a_modules_error(text: bytes) -> None:
    try:
        modules = parse_modules(text)
    except ModulesError:
        return
    starts = [module.start for module in modules]
    assert starts == sorted(set(starts))
    assert all(0 < m.start < m.start + m.size <= 1 << 64 for m in modules)
    assert all(m.name.isprintable() for m in modules)
