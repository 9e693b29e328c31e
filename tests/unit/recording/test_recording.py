"""What is written is read again; what is damaged gives its beginning or a sentence."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import fields, replace
from io import BytesIO
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.errors import FormatError, GprofError, PermissionProblem, UsageError
from gprof.guest.vcpu_threads import VcpuTime
from gprof.profile.profile import Guest, Profile
from gprof.profile.stacks import StackTable
from gprof.profile.tasks import GuestTask, TaskTable
from gprof.profile.user_spaces import UserSpaces
from gprof.profile.view import Group, tabulate
from gprof.recording import format as container
from gprof.recording.format import FRAME, LONGEST_CONTENT, MAGIC, Kind, pack, preamble
from gprof.recording.reader import read, read_from
from gprof.recording.recognition import kind_of
from gprof.recording.writer import Writer, save
from gprof.sampling.source import COLUMN_TYPES, Mode, SampleBatch, SourceFacts
from symbols.memory import MemoryFault
from symbols.space import AddressSpace, ImageKind, LoadedImage
from symbols.table import Symbol, SymbolTable
from tests.profiles import BLOB, EXT4, KERNEL, synthetic

FACTS = SourceFacts("gdbstub", "localhost:1234")
EVERY_FACT = SourceFacts(
    *("qmp", "/run/vm.sock", 499.0, 480.5, 10**10, 4990, 10**8, 7, 3, 2, 1, ("a note",), True),
    *("orc", {"user": 12, "no_rule": 3}, {0: VcpuTime(10**9, 10**8), 2: VcpuTime(5, 0)}),
)


def bytes_of(profile: Profile, path: Path) -> bytes:
    save(profile, path, force=True)
    return path.read_bytes()


def read_bytes(data: bytes) -> Profile:
    return read_from(BytesIO(data), "x.gprof")


def columns(batch: SampleBatch) -> dict[str, list[int]]:
    return {name: getattr(batch, name).tolist() for name in COLUMN_TYPES}


def stacks_of(profile: Profile) -> list[tuple[int, ...]]:
    return [profile.stacks[stack] for stack in profile.samples.stack.tolist()]


def tasks_of(profile: Profile) -> list[GuestTask | None]:
    return [profile.tasks[task] for task in profile.samples.task.tolist()]


def assert_alike(read_again: Profile, profile: Profile) -> None:
    ours, theirs = columns(read_again.samples), columns(profile.samples)
    for renumbered in ("stack", "task"):
        del ours[renumbered], theirs[renumbered]
    assert ours == theirs
    assert stacks_of(read_again) == stacks_of(profile)
    assert tasks_of(read_again) == tasks_of(profile)
    assert read_again.guests == profile.guests
    assert read_again.started_ns == profile.started_ns
    for group in Group:
        assert tabulate(read_again, group=group) == tabulate(profile, group=group)


@pytest.mark.parametrize("stacks", [False, True])
def test_a_profile_comes_back(tmp_path: Path, stacks: bool) -> None:
    profile = replace(synthetic(600, stacks), facts=EVERY_FACT)
    path = tmp_path / "x.gprof"
    save(profile, path)
    again = read(path)
    assert_alike(again, profile)
    assert again.facts == EVERY_FACT
    symbol = again.space(0).find("clear_page_erms")[0].symbol
    assert again.texts[0].read(symbol.start, 4) == bytes.fromhex("f30f1efa")
    image = again.space(0).images[0]
    assert (image.build_id, image.path) == (profile.space(0).images[0].build_id, "vmlinux")


def test_every_fact_is_kept() -> None:
    defaults = SourceFacts("", "")
    same = [
        f.name
        for f in fields(SourceFacts)
        if getattr(EVERY_FACT, f.name) == getattr(defaults, f.name)
    ]
    assert not same, "give these another value in EVERY_FACT, so that the round trip shows them"


COMMS = st.sampled_from(["sh", "", "kworker/0:1", "a\\x1b[2J", "été"])
NAMES = st.sampled_from(["do_idle", "", "x" * 3000, "\x1b[31m", "été", "\udcff", "a.b<c>"])


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    address = st.integers(0, 2**64 - 1)
    images = []
    for number in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, 2**64 - 2**20) | st.just(2**64 - 0x1000))
        end = draw(st.integers(start + 1, min(start + 2**16, 2**64)))
        starts = draw(st.lists(st.integers(0, 2**12), max_size=5))
        table = SymbolTable.of(
            [Symbol(draw(NAMES), at, at + draw(st.integers(1, 600))) for at in starts]
        )
        images.append(
            LoadedImage(
                f"image{number}",
                draw(st.sampled_from(ImageKind)),
                start,
                end,
                draw(st.sampled_from([None, table])),
                start,
                draw(st.binary(max_size=20)),
            )
        )
    near = [st.integers(i.start, i.end - 1) for i in images]
    near.append(st.integers(0, 2**47))
    pc = st.one_of(address, *near)
    stacks = StackTable()
    frames = draw(st.lists(st.lists(pc, min_size=1, max_size=5), max_size=12))
    kept = [stacks.add(f) if draw(st.booleans()) else 0 for f in frames]
    n = len(frames)
    numbers = {
        name: draw(st.lists(st.integers(0, 2 ** (8 * size) - 1), min_size=n, max_size=n))
        for name, size in (("vcpu", 2), ("mode", 1), ("weight", 4))
    }
    tasks, spaces = TaskTable(), UserSpaces()
    for number in range(draw(st.integers(0, 3))):
        space = spaces.number(0, number, 0)
        if draw(st.booleans()):
            at = draw(st.integers(0, 2**47))
            table = SymbolTable.of([Symbol("main", 0x10, 0x900), Symbol("b", 0x900, 0x1000)])
            program = LoadedImage(
                "sh", ImageKind.USER, at, at + 0x5000, draw(st.sampled_from([None, table])), at
            )
            spaces.fill(space, [program])
    drawn = []
    for pid, comm in draw(st.lists(st.tuples(st.integers(0, 2**32 - 1), COMMS), max_size=4)):
        guest, kernel_thread = draw(st.integers(0, 1)), draw(st.booleans())
        space = draw(st.integers(0, 4))
        drawn.append(GuestTask(guest, pid, pid // 2, comm, kernel_thread, space))
    unknown = [0, 99, 2**32 - 1]
    choices: list[int | GuestTask] = draw(
        st.lists(st.sampled_from([*unknown, *drawn]), min_size=n, max_size=n)
    )
    numbers["task"] = [one if isinstance(one, int) else tasks.add(one) for one in choices]
    numbers["guest"] = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    numbers["time"] = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=n, max_size=n))
    half = draw(st.sampled_from([(1 << 63, 2**64 - 1), (0, 1 << 47), (5, 4)]))
    return Profile(
        SampleBatch.of([f[0] for f in frames], stack=kept, **numbers),
        replace(FACTS, notes=tuple(draw(st.lists(st.sampled_from(["a", "b"]), max_size=3)))),
        {0: Guest(0, "web1", "aarch64", (0, 3), "6.1", b"\x01\x02")},
        {0: AddressSpace(images, kernel_half=half)},
        stacks,
        started_ns=draw(st.integers(0, 2**62)),
        tasks=tasks,
        user_spaces=spaces,
    )


@settings(max_examples=40)
@given(profiles())
def test_any_profile_comes_back(tmp_path_factory: pytest.TempPathFactory, profile: Profile) -> None:
    path = tmp_path_factory.getbasetemp() / "any.gprof"
    save(profile, path, force=True)
    again = read(path)
    assert_alike(again, profile)
    assert again.facts == profile.facts


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
            with pytest.raises(FormatError, match="not a recording"):
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


RECORDED: list[bytes] = []


@settings(max_examples=100)
@given(st.data())
def test_damage_gives_the_beginning_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    if not RECORDED:
        path = tmp_path_factory.mktemp("damage") / "x.gprof"
        RECORDED.append(bytes_of(synthetic(40, stacks=True), path))
    damaged = bytearray(RECORDED[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        again = read_bytes(bytes(damaged))
    except FormatError:
        return
    n = len(again.samples)
    assert again.samples.pc.tolist() == read_bytes(RECORDED[0]).samples.pc.tolist()[:n]


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=16)
    | st.sampled_from([b"\0" * 8, b"\1" + b"\0" * 7, b"\1\0\0\0"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
# Mostly what a frame has, with single fields replaced: nonsense everywhere is refused at once.
GOOD: dict[Kind, dict[str, object]] = {
    Kind.HEADER: {"started_ns": 1},
    Kind.GUEST: {
        "id": 0, "name": "a", "architecture": "", "vcpus": [0], "kernel": "", "build_id": b"",
    },
    Kind.IMAGES: {
        "guest": 0, "time": 0, "kernel_half": [0, 9], "first": 0,
        "images": [{
            "name": "a", "kind": 1, "start": 0, "last": 9, "slide": 0, "build_id": b"", "file": "",
        }],
    },
    Kind.SYMBOLS: {
        "guest": 0, "image": 0, "start": b"\0" * 8, "end": b"\1" * 8, "length": b"\1\0\0\0",
        "names": b"a",
    },
    Kind.STACKS: {"first": 1, "depth": b"\1\0\0\0", "pc": b"\1" * 8},
    Kind.TASKS: {
        "first": 1, "guest": b"\0\0", "pid": b"\5\0\0\0", "tgid": b"\5\0\0\0",
        "kernel_thread": b"\0", "length": b"\2\0\0\0", "names": b"sh",
    },
    Kind.LAYOUTS: {
        "number": 1,
        "images": [{
            "name": "sh", "kind": 5, "start": 0, "last": 9, "slide": 0, "build_id": b"",
            "file": "",
        }],
    },
    Kind.USER_SYMBOLS: {
        "layout": 1, "image": 0, "start": b"\0" * 8, "end": b"\1" * 8, "length": b"\1\0\0\0",
        "names": b"a",
    },
    Kind.USER_SPACES: {"space": b"\1\0\0\0", "layout": b"\0\0\0\0"},
    Kind.SAMPLES: {name: b"\0" * dtype.itemsize for name, dtype in COLUMN_TYPES.items()},
    Kind.TEXT: {"guest": 0, "address": 2**64 - 4, "text": b"abcd"},
    Kind.FACTS: {f.name: getattr(FACTS, f.name) for f in fields(SourceFacts)},
    Kind.END: {"samples": 1},
}  # fmt: skip
FIELD_NAMES = sorted({name for content in GOOD.values() for name in content})


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Kind),
            st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES, max_size=2),
        ),
        max_size=8,
    )
)
def test_whole_frames_of_nonsense_raise_only_format_errors(
    given_frames: list[tuple[Kind, dict[str, object]]],
) -> None:
    data = preamble() + b"".join(pack(kind, {**GOOD[kind], **odd}) for kind, odd in given_frames)
    try:
        profile = read_bytes(data)
    except FormatError:
        return
    for group in Group:
        table = tabulate(profile, group=group)
        assert sum(row.self_weight for row in table.rows) == table.weight


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_format_errors(data: bytes) -> None:
    for attempt in (data, preamble() + data):
        try:
            read_bytes(attempt)
        except FormatError:
            continue


def test_a_recording_of_before_tasks_has_none(tmp_path: Path) -> None:
    path = tmp_path / "old.gprof"
    data = bytes_of(synthetic(8), path)
    assert data[8:12] == bytes([container.MAJOR, 0, container.MINOR, 0])
    again = read_bytes(data[:10] + b"\0\0" + data[12:])
    assert (len(again.samples), len(again.tasks)) == (8, 1)


@pytest.mark.parametrize(
    ("odd", "complaint"),
    [
        ({"pid": b""}, "the columns of tasks have different lengths"),
        ({"length": b"\3\0\0\0"}, "the columns of tasks have different lengths"),
        ({"first": 2}, "the tasks are not numbered in order"),
    ],
)
def test_senseless_tasks_are_refused(odd: dict[str, object], complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        read_bytes(preamble() + pack(Kind.TASKS, {**GOOD[Kind.TASKS], **odd}))


@pytest.mark.parametrize(
    ("kind", "odd", "complaint"),
    [
        (Kind.LAYOUTS, {"number": 2}, "not numbered in order"),
        (Kind.USER_SYMBOLS, {}, "no image of a user space"),
        (Kind.USER_SPACES, {"layout": b"\1\0\0\0"}, "laid out like none"),
        (Kind.USER_SPACES, {"space": b"\0\0\0\0"}, "laid out like none"),
        (Kind.USER_SPACES, {"space": b"\xff\xff\xff\xff"}, "laid out like none"),
        (Kind.USER_SPACES, {"space": b""}, "different lengths"),
    ],
)
def test_senseless_user_spaces_are_refused(
    kind: Kind, odd: dict[str, object], complaint: str
) -> None:
    with pytest.raises(FormatError, match=complaint):
        read_bytes(preamble() + pack(kind, {**GOOD[kind], **odd}))


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


def test_a_task_that_is_there_twice_is_refused() -> None:
    again = {**GOOD[Kind.TASKS], "first": 2}
    with pytest.raises(FormatError, match="a task is there twice"):
        read_bytes(preamble() + pack(Kind.TASKS, GOOD[Kind.TASKS]) + pack(Kind.TASKS, again))


def test_a_later_major_version_is_refused_by_name() -> None:
    data = container.PREAMBLE.pack(MAGIC, container.MAJOR + 1, 3, 0)
    with pytest.raises(FormatError) as caught:
        read_bytes(data)
    assert "format 2.3" in caught.value.problem
    assert "reads format 2" in caught.value.remedy


def test_a_later_minor_version_is_read_as_far_as_understood(tmp_path: Path) -> None:
    data = bytes_of(synthetic(10), tmp_path / "x.gprof")
    later = container.PREAMBLE.pack(MAGIC, container.MAJOR, container.MINOR + 7, 0)
    header = pack(Kind.HEADER, {"started_ns": 5, "colour": "blue", "more": [1, {"a": b"b"}]})
    strange = bytearray(pack(Kind.END, {"samples": 3}))
    payload = bytes(strange[FRAME.size :])
    import struct
    import zlib

    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<4sI", b"MOON", len(payload))))
    strange[: FRAME.size] = FRAME.pack(b"MOON", len(payload), checksum)
    again = read_bytes(later + bytes(strange) + data[container.PREAMBLE.size :] + header)
    assert len(again.samples) == 10
    assert again.started_ns == 5
    assert again.facts.notes == ("1 parts were written by a later gprof and are not understood",)


def frame_of(payload: bytes, kind: Kind = Kind.FACTS) -> bytes:
    import struct
    import zlib

    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<4sI", kind.value, len(payload))))
    return FRAME.pack(kind.value, len(payload), checksum) + payload


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (zstandard.compress(b"\0" * (LONGEST_CONTENT + 2)), "unfolds to more than"),
        (b"no zstd", "does not decompress"),
        (zstandard.compress(b"\xc1"), "no msgpack"),
        (zstandard.compress(b"\x91" * 100_000), "no msgpack"),
        (zstandard.compress(msgpack.packb([1])), "no named fields"),
        (zstandard.compress(msgpack.packb({1: 2})), "no msgpack"),
        (zstandard.compress(msgpack.packb({b"way": 2})), "no named fields"),
        (zstandard.compress(msgpack.packb({"way": 3})), "the field way"),
    ],
)
def test_hostile_payloads_are_refused(payload: bytes, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_bytes(preamble() + frame_of(payload))


def test_a_giant_length_is_damage_not_an_allocation() -> None:
    again = read_bytes(preamble() + FRAME.pack(b"SAMP", 0xFFFFFFFF, 0))
    assert again.facts.notes == (
        "a frame claims to have 4294967295 bytes at byte 16; what comes before it was read",
    )


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


def test_stacks_of_several_tables_are_renumbered(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    first, second = StackTable(), StackTable()
    first.add([1, 2])
    second.add([3, 4])
    second.add([1, 2])
    with Writer.open(path) as writer:
        writer.add(SampleBatch.of([1], stack=[1]), first)
        writer.flush(FACTS, {}, {})
        writer.add(SampleBatch.of([3, 1], stack=[1, 2]), second)
        writer.flush(FACTS, {}, {})
    again = read(path)
    assert stacks_of(again) == [(1, 2), (3, 4), (1, 2)]
    assert again.samples.stack.tolist() == [1, 2, 1]


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    path.write_text("precious")
    with pytest.raises(UsageError) as caught:
        Writer.open(path)
    assert "--force" in caught.value.remedy
    assert path.read_text() == "precious"
    save(synthetic(4), path, force=True)
    assert len(read(path).samples) == 4


def test_a_recording_belongs_to_its_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_to: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda file, uid, gid: given_to.append((uid, gid)))
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    save(synthetic(4), tmp_path / "x.gprof")
    assert given_to == [(1000, 1001)]
    assert stat.S_IMODE((tmp_path / "x.gprof").stat().st_mode) == 0o600
    monkeypatch.setenv("SUDO_UID", "-1; rm")
    save(synthetic(4), tmp_path / "y.gprof")
    assert len(given_to) == 1


@pytest.mark.parametrize("name", ["missing/x.gprof", "."])
def test_places_that_take_no_file_are_usage_errors(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        Writer.open(tmp_path / name)
    with pytest.raises(UsageError):
        read(tmp_path / name)


def test_refusals_of_the_system_are_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionProblem, match="Permission denied"):
        Writer.open(tmp_path / "x.gprof")


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.gprof"
    profile = synthetic(200)
    room = [700]
    write = os.write

    def cramped(file: int, data: bytearray) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = write(file, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", cramped)
    writer = Writer.open(path)
    writer.add(profile.samples, profile.stacks)
    with pytest.raises(GprofError, match="No space left on device") as caught:
        writer.flush(profile.facts, profile.guests, profile.spaces)
    assert caught.value.remedy
    assert "torn" in read(path).facts.notes[0]
    room[0] = 1 << 20
    writer.flush(profile.facts, profile.guests, profile.spaces)
    writer.close()
    assert len(read(path).samples) == 200
    assert read(path).facts.notes == ()


def test_a_closed_pipe_is_a_sentence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = Writer(writing, "-")
    with pytest.raises(GprofError, match="cannot be written"):
        writer.flush(FACTS, {}, {})
    with pytest.raises(GprofError, match="cannot be written"):
        writer.close()
    writer.close()


def test_texts_that_overlap_do_not_confuse(tmp_path: Path) -> None:
    path = tmp_path / "x.gprof"
    with Writer.open(path) as writer:
        writer.add_text(0, 0x1000, b"abcdefgh")
        writer.add_text(0, 0x1004, b"XXXX")
        writer.add_text(0, 0x1008, b"ij")
    memory = read(path).texts[0]
    assert memory.read(0x1000, 10) == b"abcdefghij"
    with pytest.raises(MemoryFault):
        memory.read(0x1008, 3)


def test_kinds_are_known_by_content(tmp_path: Path) -> None:
    for name, content, kind in (
        ("a.data", preamble(), "gprof"),
        ("b.gprof", b"PERFILE2" + bytes(96), "perf"),
        ("c", b"2ELIFREP" + bytes(96), "perf"),
        ("d", b"PERFFILE" + bytes(96), "perf"),
    ):
        (tmp_path / name).write_bytes(content)
        assert kind_of(tmp_path / name) == kind
    for content, words in (
        (b"", "is empty"),
        (b"PERF", "neither"),
        (b"\x7fELF" + bytes(60), "neither"),
    ):
        (tmp_path / "d").write_bytes(content)
        with pytest.raises(FormatError, match=words):
            kind_of(tmp_path / "d")
    with pytest.raises(UsageError, match="does not exist"):
        kind_of(tmp_path / "missing")


def test_large_profiles_are_cut_into_frames(tmp_path: Path) -> None:
    n = 300_000
    batch = SampleBatch.of(range(n), mode=2)
    path = tmp_path / "x.gprof"
    save(Profile(batch, FACTS, {}, {}), path)
    assert np.array_equal(read(path).samples.pc, batch.pc)
