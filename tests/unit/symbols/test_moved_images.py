"""Firmware and loaders that copy themselves to elsewhere, and change addresses on the way."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from symbols.extra_image import ExtraImage
from symbols.memory import BytesMemory
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable

LINK, START, SIZE = 0xD_0000, 0x20_0000, 0x8000
CODE = random.Random(1).randbytes(SIZE)
TABLE = SymbolTable.of(
    [Symbol("begin", LINK, LINK + 0x4000), Symbol("init", LINK + 0x4000, LINK + SIZE)]
)
HIGH = 0xEFE_B360
#: What of the image was moved.
FIRST, END = 0x3140, 0x7000


def image() -> ExtraImage:
    """An image at START, linked at LINK."""
    loaded = LoadedImage(
        "bios", ImageKind.FIRMWARE, START, START + SIZE, TABLE, (START - LINK) % (1 << 64)
    )
    return ExtraImage(loaded, BytesMemory([(START, CODE)]))


def relocated(code: bytes) -> bytes:
    """Every 40th byte begins an address that was changed."""
    changed = bytearray(code)
    for at in range(0, len(changed) - 4, 40):
        changed[at : at + 4] = b"\xee\xdd\xcc\xbb"
    return bytes(changed)


def moved_at(pc: int, code: bytes = relocated(CODE[FIRST:END])) -> ExtraImage | None:
    memory = BytesMemory([(HIGH - 0x4000, bytes(0x4000)), (HIGH, code), (HIGH + len(code), b"\0")])
    return image().moved(memory, pc)


def test_what_was_moved_has_its_names_where_it_is() -> None:
    found = moved_at(HIGH + 0x1234)
    assert found is not None
    # At its ends an address may have been changed.
    assert abs(found.loaded.start - HIGH) <= 64
    assert abs(found.loaded.end - (HIGH + END - FIRST)) <= 64
    space = AddressSpace([image().loaded, found.loaded])
    at = space.symbol_at(HIGH + 0x4000 - FIRST + 5)
    assert at is not None
    assert (at.symbol.name, at.symbol.start) == ("init", HIGH + 0x4000 - FIRST)
    assert found.holds(BytesMemory([(HIGH, CODE[FIRST:END])]), HIGH + 0x1234) is True
    assert found.holds(BytesMemory([(HIGH, bytes(SIZE))]), HIGH + 0x1234) is False


def test_where_memory_ends() -> None:
    """A processor begins sixteen bytes below 4 GiB, where a BIOS has a copy of its end."""
    top = 1 << 32
    found = image().moved(BytesMemory([(top - SIZE, CODE)]), top - 16)
    assert found is not None
    assert (found.loaded.start, found.loaded.end) == (top - SIZE, top)


def test_something_else_was_not_moved() -> None:
    assert moved_at(HIGH + 0x1234, random.Random(2).randbytes(0x4000)) is None
    assert moved_at(HIGH + 0x1234, bytes(0x4000)) is None
    assert moved_at(HIGH + 0x8_0000) is None


def test_what_an_image_has_twice_is_nowhere() -> None:
    twice = ExtraImage(image().loaded, BytesMemory([(START, CODE[: SIZE // 2] * 2)]))
    memory = BytesMemory([(HIGH, CODE[: SIZE // 2])])
    assert twice.moved(memory, HIGH + 0x100) is None


def test_an_image_whose_bytes_are_not_known() -> None:
    without = ExtraImage(image().loaded)
    assert without.moved(BytesMemory([(HIGH, CODE)]), HIGH) is None


@given(st.integers(0, END - FIRST - 256), st.binary(max_size=64), st.integers(0, END - FIRST))
def test_anywhere_in_it(offset: int, other: bytes, where: int) -> None:
    code = bytearray(CODE[FIRST:END])
    code[where : where + len(other)] = other
    found = moved_at(HIGH + offset, bytes(code))
    if found is not None:
        assert found.loaded.start <= HIGH + offset + 64
        assert (found.loaded.slide - (HIGH - FIRST - LINK)) % (1 << 64) == 0
        assert HIGH - 64 <= found.loaded.start < found.loaded.end <= HIGH + END - FIRST + 64
