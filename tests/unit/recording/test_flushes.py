"""What a recording holds while it is being written, and what later flushes make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gprof.errors import FormatError
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import tabulate
from gprof.recording import format as container
from gprof.recording.reader import read
from gprof.recording.writer import Writer
from gprof.sampling.source import COLUMN_TYPES, Mode, SampleBatch
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import BLOB, EXT4, KERNEL, synthetic
from tests.unit.recording.read_again import FACTS, read_bytes, stacks_of


def test_cut_anywhere_the_beginning_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    profile = synthetic(8, stacks=True)
    with Writer.open(path) as writer:
        for at in range(0, 8, 4):
            part = SampleBatch(*(getattr(profile.samples, n)[at : at + 4] for n in COLUMN_TYPES))
            writer.add(part, profile.stacks)
            writer.flush(profile.facts, profile.guests, profile.spaces)
    whole = path.read_bytes()
    assert read_bytes(whole).facts.notes == ()
    names = {row.label for row in tabulate(profile).rows}
    seen = [0]
    for size in range(len(whole)):
        if size < container.PREAMBLE.size:
            whole_magic = size >= len(container.MAGIC)
            said = "cut short" if whole_magic else "not a recording"
            with pytest.raises(FormatError, match=said):
                read_bytes(whole[:size])
            continue
        again = read_bytes(whole[:size])
        assert len(again.facts.notes) == 1
        n = len(again.samples)
        if n != seen[-1]:
            seen.append(n)
            assert again.samples.pc.tolist() == profile.samples.pc[:n].tolist()
            assert stacks_of(again) == stacks_of(profile)[:n]
            # What is there has its names: they are written before the samples that need them.
            assert {row.label for row in tabulate(again).rows} <= names
    assert seen == [0, 4, 8]


def test_a_space_that_is_read_late_names_the_samples_before(tmp_path: Path) -> None:
    tasks, spaces = TaskTable(), UserSpaces()
    space = spaces.number(0, 5, 0x1000)
    number = tasks.add(GuestTask(0, 5, 5, "sh", space=space))
    samples = SampleBatch.of([0x401234], task=number, mode=Mode.USER)
    path = tmp_path / "x.gprof"
    with Writer.open(path) as writer:
        writer.add(samples, StackTable(), tasks)
        writer.flush(FACTS, {}, {}, spaces)
        assert [row.label for row in tabulate(read(path)).rows] == ["[user]"]
        spaces.fill(space, [LoadedImage("sh", ImageKind.USER, 0x400000, 0x500000)])
        writer.flush(FACTS, {}, {}, spaces)
        writer.flush(FACTS, {}, {}, spaces)
        assert [row.label for row in tabulate(read(path)).rows] == ["[sh]+0x1000"]
        table = SymbolTable.of([Symbol("first", 0, 16), Symbol("main", 0x1000, 0x2000)])
        named = LoadedImage("sh", ImageKind.USER, 0x400000, 0x500000, table, 0x400000)
        spaces.fill(space, [named])
        writer.flush(FACTS, {}, {}, spaces)
    again = read(path)
    assert [row.label for row in tabulate(again).rows] == ["main"]
    (image,) = again.user_spaces.layouts[-1].images[-1:]
    assert image.table is not None
    assert [image.table[i].name for i in range(2)] == ["first", "main"]


def test_names_come_before_the_samples_of_every_flush(tmp_path: Path) -> None:
    """A module that is loaded while a recording runs, then unloaded and another in its place."""
    path = tmp_path / "x.gprof"
    stacks = StackTable()

    def module(name: str, symbol: str) -> LoadedImage:
        table = SymbolTable.of([Symbol("unused", 0, 8), Symbol(symbol, 0x100, 0x180)])
        return LoadedImage(name, ImageKind.MODULE, BLOB, BLOB + 0x1000, table, BLOB)

    kernel = LoadedImage("[kernel]", ImageKind.KERNEL, KERNEL, KERNEL + 0x1000)
    space = AddressSpace([kernel])
    batch = SampleBatch.of([BLOB + 0x110, KERNEL + 4])
    with Writer.open(path) as writer:
        writer.add(batch, stacks)
        writer.flush(FACTS, {}, {0: space})
        assert {r.label for r in tabulate(read(path)).rows} == {
            "0xffffffffc0800000",
            "[kernel]+0x0",
        }
        space.load(module("one", "poll_one"))
        writer.add(batch, stacks)
        writer.flush(FACTS, {}, {0: space})
        assert {r.label for r in tabulate(read(path)).rows} == {"poll_one", "[kernel]+0x0"}
        replaced = AddressSpace([kernel, module("two", "poll_two")])
        writer.add(batch, stacks)
        writer.flush(FACTS, {}, {0: replaced})
    again = read(path)
    assert {r.label for r in tabulate(again).rows} == {"poll_two", "[kernel]+0x0"}
    assert [i.name for i in again.space(0).images] == ["[kernel]", "two"]
    assert len(again.samples) == 6


def test_better_symbols_of_the_same_image_win(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    bare = LoadedImage("ext4", ImageKind.MODULE, EXT4, EXT4 + 0x1000, slide=EXT4)
    tables = [
        SymbolTable.of([Symbol("rough", 0, 0x1000)]),
        SymbolTable.of([Symbol("fine", 0, 0x800), Symbol("other", 0x900, 0xA00)]),
    ]
    with Writer.open(path) as writer:
        for table in (None, *tables):
            writer.add(SampleBatch.of([EXT4 + 4]), StackTable())
            writer.flush(FACTS, {}, {0: AddressSpace([replace(bare, table=table)])})
    assert [r.label for r in tabulate(read(path)).rows] == ["fine"]
