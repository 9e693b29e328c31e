from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.space import AddressSpace, ImageKind, LoadedImage, Reason
from symbols.table import Symbol, SymbolTable

WIDTH = 64
HALF = (32, WIDTH - 1)
WRAP = 1 << 64
GENERATING = {ImageKind.MODULE, ImageKind.GENERATED}


@st.composite
def images(draw: st.DrawFn) -> LoadedImage:
    start = draw(st.integers(0, WIDTH - 2))
    end = draw(st.integers(start + 1, WIDTH))
    slide = draw(st.sampled_from([0, 7, -5 % WRAP, 1 << 40]))
    table = None
    first = (start - slide) % WRAP + draw(st.integers(0, 3))
    # An end of 2^64 and more cannot be written in a table.
    if first < WRAP - 8 and draw(st.booleans()):
        table = SymbolTable.of([Symbol("f", first, first + draw(st.integers(1, 8)))])
    kind = draw(st.sampled_from([ImageKind.KERNEL, *GENERATING]))
    return LoadedImage(f"i{start}", kind, start, end, table, slide)


Step = tuple[str, LoadedImage | tuple[int, int]]
ranges = st.tuples(st.integers(0, WIDTH - 1), st.integers(0, WIDTH)).filter(lambda r: r[0] < r[1])
steps = st.lists(
    st.tuples(st.just("load"), images()) | st.tuples(st.just("unload"), ranges), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_same_as_a_map_of_every_address(history: list[Step]) -> None:
    space = AddressSpace(kernel_half=HALF)
    naive: dict[int, int] = {}
    for _, what in history:
        if isinstance(what, LoadedImage):
            naive.update(dict.fromkeys(range(what.start, what.end), len(space.images)))
            space.load(what)
        else:
            space.unload(*what)
            for address in range(*what):
                naive.pop(address, None)
    resolved = space.resolve(np.arange(WIDTH, dtype=np.uint64))
    assert resolved.image.tolist() == [naive.get(address, -1) for address in range(WIDTH)]
    any_kernel = any(image.kind == ImageKind.KERNEL for image in space.images)
    for address in range(WIDTH):
        reason = Reason(int(resolved.reason[address]))
        number = naive.get(address, -1)
        at = space.image_at(address)
        if number < 0:
            assert at is None
            # All of this space is as near to a module as anything.
            beside = {space.images[n].kind for n in naive.values()} & GENERATING
            known = Reason.GENERATED if beside else Reason.NO_IMAGE
            expected = known if any_kernel else Reason.NO_KERNEL_SYMBOLS
            assert reason == (expected if address >= HALF[0] else Reason.USER_SPACE)
            assert resolved.offset[address] == address
            continue
        image = space.images[number]
        assert at is image
        if image.table is None:
            generated = image.kind is ImageKind.GENERATED
            assert reason == (Reason.GENERATED if generated else Reason.NO_SYMBOLS)
            assert resolved.offset[address] == address - image.start
            continue
        linked = (address - image.slide) % WRAP
        symbol = image.table[0]
        inside = symbol.start <= linked < symbol.end
        assert reason == (Reason.RESOLVED if inside else Reason.BETWEEN_SYMBOLS)
        found = space.symbol_at(address)
        assert (found is not None) == inside
        if found is not None:
            assert found.symbol.start <= address < found.symbol.end
            assert resolved.offset[address] == address - found.symbol.start
    assert {image.name for image in space.loaded()} == {
        space.images[number].name for number in naive.values()
    }


def test_what_lies_near_modules_is_generated() -> None:
    area, near = 0xFFFF_FFFF_C000_0000, 64 << 20
    space = AddressSpace(
        [
            LoadedImage("[kernel]", ImageKind.KERNEL, area - (1 << 30), area - (1 << 29)),
            LoadedImage("zram", ImageKind.MODULE, area, area + 0x1000),
            LoadedImage("zsmalloc", ImageKind.MODULE, area + 0x5000, area + 0x6000),
        ]
    )
    end = area + 0x6000
    expected = {
        area - near - 1: Reason.NO_IMAGE, area - near: Reason.GENERATED,
        area + 0x2000: Reason.GENERATED, area + 0x5000: Reason.NO_SYMBOLS,
        end + near - 1: Reason.GENERATED, end + near: Reason.NO_IMAGE,
        area - (1 << 29): Reason.NO_IMAGE, 0x1000: Reason.USER_SPACE,
    }  # fmt: skip
    found = space.resolve(np.array(list(expected), np.uint64))
    assert found.reason.tolist() == list(expected.values())
    # Of a guest whose kernel is not known nothing is known of its modules' surroundings.
    space.unload(area, end)
    assert space.resolve(np.array([area], np.uint64)).reason.tolist() == [Reason.NO_IMAGE]


def test_the_last_byte_of_the_address_space() -> None:
    table = SymbolTable.of([Symbol("top", WRAP - 16, WRAP - 1)])
    space = AddressSpace([LoadedImage("k", ImageKind.KERNEL, WRAP - 16, WRAP, table)])
    at = space.symbol_at(WRAP - 2)
    assert at is not None
    assert at.symbol.name == "top"
    assert space.image_at(WRAP - 1) is not None


def test_ranges_that_are_none() -> None:
    for start, end in [(5, 5), (6, 5), (-1, 5), (0, WRAP + 1)]:
        with pytest.raises(ValueError, match="range"):
            AddressSpace([LoadedImage("x", ImageKind.USER, start, end)])


def test_every_reason_has_a_sentence() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)
