"""Frames of functions that were inlined, in stacks and in the formats that have them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from gprof.export.firefox import Firefox
from gprof.export.pprof import Pprof
from gprof.export.speedscope import Speedscope
from gprof.profile.inlining import with_inlined
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.traces import traces
from gprof.sampling.source import SampleBatch, SourceFacts
from symbols.lines_of_space import SpaceLines
from symbols.names import Names
from symbols.source_frames import Chain, SourceFrame
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import SymbolTable

LEAF, CALLER = 0x1000, 0x2000


class Known(SpaceLines):
    """Lines that are known by heart."""

    def __init__(self, chains: dict[int, Chain]) -> None:
        super().__init__()
        self._chains = chains
        self.asked: set[int] = set()

    def find(self, space: AddressSpace, pcs: Iterable[int]) -> dict[int, Chain]:
        asked = set(pcs)
        self.asked |= asked
        return {pc: self._chains.get(pc, ()) for pc in asked}


def chain(*names: str, line: int = 7) -> Chain:
    return tuple(SourceFrame(name, f"{name}.c", line + i) for i, name in enumerate(names))


def known() -> Known:
    return Known({
        LEAF + 4: chain("deep", "middle", "leaf"),
        LEAF + 8: chain("leaf"),
        CALLER + 0xF: chain("call", "caller"),
    })  # fmt: skip


def profile() -> Profile:
    starts = np.array([LEAF, CALLER], np.uint64)
    table = SymbolTable(starts, starts + np.uint64(0x100), Names.of(["leaf", "caller"]))
    space = AddressSpace([LoadedImage("[kernel]", ImageKind.KERNEL, 0x1000, 0x3000, table)])
    stacks = StackTable()
    numbers = [stacks.add([LEAF + 4, CALLER + 0x10]), stacks.add([LEAF + 8, CALLER + 0x10])]
    ids = (numbers[0], numbers[0], numbers[1], 0)
    samples = SampleBatch.of([LEAF + 4, LEAF + 4, LEAF + 8, LEAF + 4], stack=ids)
    facts = SourceFacts("gdbstub", "here")
    return Profile(samples, facts, {0: Guest(0, "web1")}, {0: space}, stacks)


def test_each_inlined_function_is_a_frame_of_its_own() -> None:
    lines = known()
    found = with_inlined(profile(), traces(profile(), exact=True), lines)
    named = [[found.places[place].name for place in found.stacks[n]] for n in found.stack.tolist()]
    deep = ["deep", "middle", "leaf", "call", "caller"]
    assert named == [deep, deep, ["leaf", "call", "caller"], deep[:3]]
    assert found.weight == 4
    # A caller is looked up inside its call, not behind it.
    assert lines.asked == {LEAF + 4, LEAF + 8, CALLER + 0xF}
    one = next(place for place in found.places if place.name == "middle")
    assert (one.symbol, one.module) == ("middle", "[kernel]")


def test_addresses_of_which_nothing_is_known_stay_as_they_are() -> None:
    plain = traces(profile(), exact=True)
    found = with_inlined(profile(), plain, Known({}))
    named = [[found.places[place].name for place in stack] for stack in found.stacks]
    assert named == [["leaf", "caller"], ["leaf"]]
    assert found.stack.tolist() == [0, 0, 0, 1]
    nothing = replace(profile(), samples=SampleBatch.empty())
    assert with_inlined(nothing, traces(nothing, exact=True), known()).stacks == ()


def written(exporter: Any) -> bytes:
    out = io.BytesIO()
    exporter.write(profile(), out)
    return out.getvalue()


def test_formats_show_them() -> None:
    content = json.loads(written(Speedscope(lines=known())))
    names = [frame["name"] for frame in content["shared"]["frames"]]
    deepest = content["profiles"][0]["samples"][0]
    assert [names[frame] for frame in deepest] == ["caller", "call", "leaf", "middle", "deep"]
    content = json.loads(written(Firefox(lines=known())))
    assert {"deep", "middle", "call"} <= set(content["shared"]["stringArray"])
    message = gzip.decompress(written(Pprof(lines=known())))
    for text in (b"deep", b"middle.c", b"caller.c"):
        assert text in message
    assert b"deep" not in gzip.decompress(written(Pprof()))
