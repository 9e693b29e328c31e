"""Where the sections of an ELF file lie, and which addresses hold instructions."""

from __future__ import annotations

import pytest
from elftools.common.exceptions import ELFError

from symbols.elf_sections import Section, laid_out, text_ranges


def section(
    name: str, size: int, address: int = 0, *, text: bool = False, loaded: bool = True
) -> Section:
    return Section(name, "SHT_PROGBITS", address, size, 0, loaded, text, 0)


@pytest.mark.parametrize(
    ("flags", "loaded", "text"),
    [(2, True, False), (6, True, True), (4, False, False), (1, False, False)],
)
def test_what_a_header_says(flags: int, loaded: bool, text: bool) -> None:
    header = {
        "sh_name": 1, "sh_type": "SHT_NOBITS", "sh_addr": 16, "sh_size": 32, "sh_offset": 64,
        "sh_flags": flags, "sh_link": 3,
    }  # fmt: skip
    found = Section.of(header, b"\0.b\x1bss\0.text")
    assert found == Section(found.name, "SHT_NOBITS", 16, 32, 64, loaded, text, 3)
    assert found.name.startswith(".b")
    assert "\x1b" not in found.name
    assert not found.in_file
    # A name that does not end, and one that is outside.
    assert Section.of(header | {"sh_name": 7}, b"\0.b\x1bss\0.text").name == ".text"
    assert Section.of(header | {"sh_name": 700}, b"\0.bss").name == ""


def test_text_comes_first_and_init_last() -> None:
    given = [
        (section(".init.text", 8, text=True), 1),
        (section(".data", 8), 8),
        (section(".comment", 8, loaded=False), 1),
        (section(".text", 5, text=True), 16),
        (section(".init.data", 8), 0),
    ]
    assert [one.address for one in laid_out(given)] == [16, 8, 0, 0, 24]


def test_sizes_that_no_address_space_has() -> None:
    huge = section(".data", (1 << 64) - 1)
    assert [one.address for one in laid_out([(huge, 1)])] == [0]
    with pytest.raises(ELFError, match="do not fit"):
        laid_out([(huge, 1), (huge, 1)])
    # Such a section, or such an alignment, is as good as not there.
    absurd = [(section(".a", 1 << 64), 1), (section(".b", 8), 1 << 40), (section(".c", 8), 1)]
    assert [one.address for one in laid_out(absurd)] == [0, 0, 0]


def test_text_is_joined_where_little_lies_between() -> None:
    near, far = 0x1000 + (256 << 20), 1 << 40
    text = [
        section(".far", 16, far, text=True),
        section(".near", 16, near + 16, text=True),
        section(".text", 16, 0x1000, text=True),
        section(".data", 16, 0x9000),
        section(".empty", 0, 0x9000, text=True),
        section(".beyond", 16, (1 << 64) - 8, text=True),
    ]
    assert text_ranges(tuple(text), []) == ((0x1000, near + 32), (far, far + 16))


def test_segments_tell_where_no_section_does() -> None:
    segments = [
        {"p_type": "PT_LOAD", "p_flags": flags, "p_vaddr": at, "p_memsz": 16}
        for flags, at in ((5, 0x1000), (6, 0x2000))
    ]
    assert text_ranges((section(".data", 8, 0x2000),), segments) == ((0x1000, 0x1010),)
    assert text_ranges((section(".text", 8, 0x3000, text=True),), segments) == ((0x3000, 0x3008),)
