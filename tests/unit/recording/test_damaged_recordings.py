"""What is damaged, hostile, or of another version gives its beginning or a sentence."""

from __future__ import annotations

import struct
import zlib
from dataclasses import fields
from pathlib import Path

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.errors import FormatError
from gprof.profile.view import Group, tabulate
from gprof.recording import format as container
from gprof.recording.format import FRAME, LONGEST_CONTENT, MAGIC, Kind, pack, preamble
from gprof.sampling.source import COLUMN_TYPES, SourceFacts
from tests.profiles import synthetic
from tests.unit.recording.read_again import FACTS, bytes_of, read_bytes

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


def frame_of(payload: bytes, kind: bytes = Kind.FACTS.value) -> bytes:
    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<4sI", kind, len(payload))))
    return FRAME.pack(kind, len(payload), checksum) + payload


def test_a_later_minor_version_is_read_as_far_as_understood(tmp_path: Path) -> None:
    data = bytes_of(synthetic(10), tmp_path / "x.gprof")
    later = container.PREAMBLE.pack(MAGIC, container.MAJOR, container.MINOR + 7, 0)
    header = pack(Kind.HEADER, {"started_ns": 5, "colour": "blue", "more": [1, {"a": b"b"}]})
    strange = frame_of(pack(Kind.END, {"samples": 3})[FRAME.size :], b"MOON")
    again = read_bytes(later + strange + data[container.PREAMBLE.size :] + header)
    assert len(again.samples) == 10
    assert again.started_ns == 5
    assert again.facts.notes == ("1 parts were written by a later gprof and are not understood",)


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
