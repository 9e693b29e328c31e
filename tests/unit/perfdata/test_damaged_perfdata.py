"""The reader on files that are cut off, damaged, or none at all."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.perfdata import Feature, PerfData, PerfDataError, SampleField
from gprof.perfdata.cursor import Order
from tests import perf_writer as write
from tests.perf_reading import ips, read


def test_text_behind_a_pipe_ends_the_reading_and_is_told() -> None:
    data = write.perf_pipe(write.sample(ip=1)) + b"[ perf record: Woken up 1 times ]\n"
    perf, found = read(data)
    assert ips(found) == [1]
    assert len(perf.problems) == 1


def test_a_chain_that_claims_more_than_its_record_holds_is_empty() -> None:
    kind = write.GUEST_SAMPLE | SampleField.CALLCHAIN
    good = write.sample(sample_type=kind, chain=(1, 2))
    bad = bytearray(good)
    bad[56:64] = struct.pack("<Q", 2**63)
    _, (samples,) = read(
        write.perf_file(good + bytes(bad), attributes=(write.attribute(sample_type=kind),))
    )
    assert samples.callchains().start.tolist() == [0, 2, 2]


def test_broken_compression_keeps_what_came_before() -> None:
    packed = write.compressed(write.sample(ip=1), piece=1000)
    data = write.perf_file(packed + write.record("<", 81, b"\xff" * 40))
    perf, found = read(data)
    assert ips(found) == [1]
    assert "decompressed" in perf.problems[0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF" + bytes(200),
        b"PERFILE2",
        b"PERFILE2" + struct.pack("<Q", 104) + bytes(20),
        b"PERFILE2" + struct.pack("<QQ6Q4Q", 104, 10, *[0] * 10),
        b"PERFILE2" + struct.pack("<QQ6Q4Q", 104, 144, 104, 2**62, *[0] * 8),
        b"PERFILE2" + struct.pack("<QQ6Q4Q", 3, 144, *[0] * 10),
    ],
)
def test_what_is_no_perf_data_is_refused_with_a_remedy(data: bytes) -> None:
    with pytest.raises(PerfDataError) as caught:
        read(data)
    assert caught.value.problem
    assert caught.value.remedy


def test_records_beyond_every_file_are_none() -> None:
    data = bytearray(write.perf_file(write.sample()))
    data[47] = 0x80  # the records' offset, beyond what a file can have
    perf, found = read(bytes(data))
    assert found == []
    assert perf.problems == ["the file is cut off"]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PerfDataError, match="cannot be read"):
        PerfData.open(tmp_path / "none")
    with pytest.raises(PerfDataError, match="cannot be read"):
        PerfData.open(tmp_path)


def consume(data: bytes) -> list[int]:
    """Read everything that there is to read; only PerfDataError may come of it."""
    perf, found = read(data)
    for samples in found:
        for name in ("ip", "pid", "tid", "time", "id", "cpu", "period", "cpumode", "address"):
            assert len(getattr(samples, name)) == len(samples)
        samples.callchains()
        samples.raw_field(8, 8)
    for getter in ("tracing", "build_ids", "command_line"):
        try:
            getattr(perf, getter)
        except PerfDataError:
            continue
    return ips(found)


def example() -> bytes:
    order: Order = "<"
    layout = write.GUEST_SAMPLE | SampleField.CALLCHAIN | SampleField.RAW
    records = write.mapping(order, "[guest.kernel.kallsyms]_text", 16, 32)
    records += write.comm(order, 100, 101, "CPU 0/KVM") + write.id_index(order, (1, 0, 3, 1, 7, 5))
    for i in range(12):
        records += write.sample(sample_type=layout, ip=i, chain=(1, 2, 3)[: i % 4], raw=b"abcd")
    return records


SAMPLE_TYPE = write.GUEST_SAMPLE | SampleField.CALLCHAIN | SampleField.RAW
WHOLE_FILE = write.perf_file(
    example() + write.compressed(example()),
    attributes=(write.attribute(sample_type=SAMPLE_TYPE),),
    features={
        Feature.TRACING_DATA: write.TracingWriter().data(),
        Feature.ARCH: write.counted("<", "x86_64"),
        Feature.CMDLINE: struct.pack("<I", 1) + write.counted("<", "perf"),
    },
)
WHOLE_PIPE = write.perf_pipe(
    example() + write.compressed(example()),
    attributes=(write.attribute(sample_type=SAMPLE_TYPE),),
    names=("cpu-clock",),
)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE_PIPE)))
def test_a_pipe_cut_anywhere_gives_everything_before_the_cut(cut: int) -> None:
    if cut < 16:
        with pytest.raises(PerfDataError):
            read(WHOLE_PIPE[:cut])
        return
    whole = consume(WHOLE_PIPE)
    part = consume(WHOLE_PIPE[:cut])
    assert part == whole[: len(part)]
    head = len(WHOLE_PIPE) - len(example()) - len(write.compressed(example()))
    complete = WHOLE_PIPE[head:cut].count(struct.pack("<IHH", 9, 4, 80))
    assert len(part) >= complete - 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(WHOLE_FILE) - 1))
def test_a_file_cut_anywhere_gives_everything_before_the_cut(cut: int) -> None:
    whole = consume(WHOLE_FILE)
    try:
        part = consume(WHOLE_FILE[:cut])
    except PerfDataError:
        assert cut < 104 + 16 + 144  # within the header and the table of events
        return
    assert part == whole[: len(part)]


@settings(deadline=None, max_examples=150)
@given(
    whole=st.sampled_from([WHOLE_FILE, WHOLE_PIPE]),
    changes=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=12
    ),
)
def test_damage_anywhere_raises_nothing_else(whole: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(whole)
    for at, value in changes:
        data[at % len(data)] = value
    with contextlib.suppress(PerfDataError):
        consume(bytes(data))


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([b"", b"PERFILE2", b"2ELIFREP", b"PERFFILE"]), st.binary(max_size=400))
def test_any_bytes_raise_nothing_else(magic: bytes, data: bytes) -> None:
    with contextlib.suppress(PerfDataError):
        consume(magic + data)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(["<", ">"]), st.binary(max_size=600))
def test_any_records_raise_nothing_else(order: Order, data: bytes) -> None:
    consume(write.perf_pipe(data, order))
