"""Which symbol a person means."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gprof.choosing import choose_symbol
from gprof.errors import UsageError
from gprof.profile.profile import Profile
from gprof.sampling.source import SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import synthetic


def test_by_name_and_by_address() -> None:
    profile = synthetic(500)
    by_name = choose_symbol(profile, "filemap_read")
    inside = by_name.at.symbol.start + 5
    assert choose_symbol(profile, f"{inside:#x}") == by_name
    assert by_name.others == ()


def twice() -> Profile:
    tables = [SymbolTable.of([Symbol("jhash", 0x10, 0x20)]) for _ in range(2)]
    space = AddressSpace(
        [
            LoadedImage(name, ImageKind.MODULE, base, base + 0x100, table, slide=base)
            for name, base, table in zip("ab", (0x1000, 0x2000), tables, strict=True)
        ]
    )
    samples = SampleBatch.of([0x2011, 0x2012, 0x1013])
    return replace(synthetic(1), samples=samples, spaces={0: space})


def test_of_several_homes_the_hottest_is_meant_and_the_others_are_told() -> None:
    chosen = choose_symbol(twice(), "jhash")
    assert chosen.at.image.name == "b"
    assert [(other.image.name, samples) for other, samples in chosen.others] == [("a", 1)]


@pytest.mark.parametrize("wanted", ["filemap", "filemap_raed"])
def test_a_name_that_does_not_exist_gets_near_ones(wanted: str) -> None:
    with pytest.raises(UsageError, match="no symbol") as caught:
        choose_symbol(synthetic(10), wanted)
    assert "filemap_read" in caught.value.remedy


@pytest.mark.parametrize("wanted", ["0x10", "0xzz", "0x1ffffffffffffffff", "", "[/]\x1b[31m"])
def test_nonsense_is_refused_harmlessly(wanted: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_symbol(synthetic(10), wanted)
    assert "\x1b" not in str(caught.value)
