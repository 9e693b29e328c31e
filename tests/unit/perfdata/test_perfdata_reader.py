"""The reader on files of every shape, written by the tests' own writer."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gprof.perfdata import EventType, Feature, PerfData, SampleField
from gprof.perfdata.cursor import Order
from tests import perf_writer as write
from tests.perf_reading import ips, read
from tests.waiting import PATIENCE

ORDERS: tuple[Order, ...] = ("<", ">")
ALL_FIXED = write.GUEST_SAMPLE | SampleField.IDENTIFIER | SampleField.ADDR | SampleField.STREAM_ID


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", ["file", "pipe", "unfinished", "zstd", "zstd2", "zstd pipe"])
def test_every_shape_gives_the_same_samples(order: Order, shape: str) -> None:
    records = b"".join(
        write.sample(
            order, misc=4 + i % 2, ip=2**63 + i, pid=-1, tid=i, time=10 * i, number=1 + i % 2,
            cpu=i % 3, period=2**33 + i,
        )
        for i in range(200)
    )  # fmt: skip
    if shape == "file":
        data = write.perf_file(records, order)
    elif shape == "unfinished":
        data = write.perf_file(records, order, data_size=0)
    elif shape == "pipe":
        data = write.perf_pipe(records, order)
    elif shape == "zstd pipe":
        data = write.perf_pipe(write.compressed(records, order), order)
    else:
        packed = write.compressed(records, order, second=shape == "zstd2")
        data = write.perf_file(packed, order)
    perf, found = read(data)
    assert ips(found) == [2**63 + i for i in range(200)]
    whole = {
        name: np.concatenate([getattr(samples, name) for samples in found]).tolist()
        for name in ("cpumode", "pid", "tid", "time", "cpu", "period", "id")
    }
    assert whole == {
        "cpumode": [4 + i % 2 for i in range(200)],
        "pid": [-1] * 200,
        "tid": list(range(200)),
        "time": [10 * i for i in range(200)],
        "cpu": [i % 3 for i in range(200)],
        "period": [2**33 + i for i in range(200)],
        "id": [1 + i % 2 for i in range(200)],
    }
    assert perf.order == order
    assert perf.counts[9] == 200
    assert (perf.problems == []) == (shape != "unfinished")


def test_a_directory_gives_what_all_its_files_hold(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(write.perf_file(write.sample(ip=1)))
    (tmp_path / "data.10").write_bytes(write.sample(ip=3))
    (tmp_path / "data.2").write_bytes(write.compressed(write.sample(ip=2)))
    with PerfData.open(tmp_path) as perf:
        assert [int(s.ip[0]) for chunk in perf.chunks() for s in chunk] == [1, 2, 3]


def test_a_stream_gives_what_has_come_before_more_comes() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        first = write.perf_pipe(write.sample(ip=1) + write.sample(ip=2)[:20])
        sink.write(first)
        perf = PerfData.from_file(source)
        chunks = perf.chunks()
        assert ips(list(next(chunks))) == [1]
        sink.write(write.sample(ip=2)[20:])
        assert ips(list(next(chunks))) == [2]
        sink.close()
        assert list(chunks) == []


def test_a_file_that_comes_through_a_pipe_is_read_like_one_on_disk() -> None:
    data = write.perf_file(write.sample(ip=7), features={Feature.ARCH: write.counted("<", "s390x")})
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb") as sink:

        def feed() -> None:
            sink.write(data)
            sink.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        with PerfData.from_file(source) as perf:
            assert ips([s for chunk in perf.chunks() for s in chunk]) == [7]
            assert perf.text(Feature.ARCH) == "s390x"
        feeder.join(PATIENCE)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [64, 72, 80, 96, 104, 112, 120, 128, 136, 144, 200])
@pytest.mark.parametrize("pipe", [False, True])
def test_attributes_of_any_size(order: Order, size: int, pipe: bool) -> None:
    given = write.attribute(order, config=3, flags=1 << 18 | 2 << 15, size=size)
    make = write.perf_pipe if pipe else write.perf_file
    perf, found = read(make(write.sample(order, ip=5), order, attributes=(given,)))
    attribute = perf.events[0].attribute
    assert (attribute.type, attribute.config, attribute.size) == (1, 3, size)
    assert attribute.precise == 2
    assert attribute.sample_type == write.GUEST_SAMPLE
    assert ips(found) == [5]


@pytest.mark.parametrize("order", ORDERS)
def test_varying_fields_are_found_behind_one_another(order: Order) -> None:
    kind = ALL_FIXED | SampleField.READ | SampleField.CALLCHAIN | SampleField.RAW
    given = write.attribute(order, sample_type=kind)
    chains = [tuple(range(i % 5)) for i in range(300)]
    records = b"".join(
        write.sample(
            order, sample_type=kind, ip=i, chain=chains[i], raw=struct.pack(order + "IiQ", i, -i, i)
        )
        for i in range(300)
    )  # fmt: skip
    _, (samples,) = read(write.perf_file(records, order, attributes=(given,)))
    ragged = samples.callchains()
    rows = [
        tuple(ragged.values[a:b].tolist())
        for a, b in zip(ragged.start[:-1], ragged.start[1:], strict=True)
    ]
    assert rows == chains
    assert samples.raw_field(0, 4).tolist() == list(range(300))
    assert samples.raw_field(4, 4, signed=True).tolist() == [-i for i in range(300)]
    assert samples.raw_field(8, 8).tolist() == list(range(300))
    assert samples.raw_field(300, 4).tolist() == [0] * 300
    assert samples.raw()[1].tolist() == [20] * 300


@pytest.mark.parametrize("extra", [SampleField.IDENTIFIER, SampleField(0)])
def test_samples_of_several_events_are_told_apart_by_id(extra: SampleField) -> None:
    layout = write.GUEST_SAMPLE | extra
    raw = layout | SampleField.RAW
    events = (
        write.attribute(sample_type=layout),
        write.attribute(sample_type=raw, kind=EventType.TRACEPOINT, config=1002),
    )
    records = b"".join(
        write.sample(sample_type=raw, number=12, ip=i, raw=b"abcd")
        if i % 3
        else write.sample(sample_type=layout, number=11, ip=i)
        for i in range(120)
    )
    records += write.sample(sample_type=layout, number=99)
    perf, found = read(
        write.perf_file(
            records,
            attributes=events,
            ids=((10, 11), (12,)),
            features={Feature.TRACING_DATA: write.TracingWriter().data()},
        )
    )
    assert [event.name for event in perf.events] == ["cpu-clock", "kvm:kvm_exit"]
    assert {s.event: s.ip.tolist() for s in found} == {
        0: list(range(0, 120, 3)),
        1: [i for i in range(120) if i % 3],
    }
    assert perf.unattributed == 1


def test_side_records_fill_the_tables() -> None:
    order: Order = "<"
    records = (
        write.mapping(order, "[guest.kernel.kallsyms]_text", 16, 32, offset=16)
        + write.comm(order, 100, 101, "CPU 0/KVM")
        + write.record(order, 7, struct.pack("<iiiiQ", 100, 1, 102, 101, 5))
        + write.id_index(order, (1, 0, 3, 101, 77, 5))
        + write.record(order, 2, struct.pack("<QQ", 1, 40))
        + write.record(order, 13, struct.pack("<Q", 2))
        + write.record(order, 4242, b"unknown!")
        + write.record(order, 71, struct.pack("<QQQIIII", 1000, 0, 0, 0, 0, 0, 0))
        + bytes(1000)
        + write.record(order, 1, b"short")
        + write.sample(ip=9)
    )
    perf, found = read(write.perf_pipe(records, names=("cpu-clock:G",)))
    assert ips(found) == [9]
    mapping = perf.mappings[0]
    assert (mapping.filename, mapping.start, mapping.offset) == (
        b"[guest.kernel.kallsyms]_text", 16, 16
    )  # fmt: skip
    assert mapping.of_guest
    assert [(t.tid, t.pid, t.name) for t in perf.threads.of(100)] == [
        (101, 100, b"CPU 0/KVM"),
        (102, 100, b"CPU 0/KVM"),
    ]
    assert (perf.origins[1].machine_pid, perf.origins[1].vcpu) == (77, 5)
    assert perf.lost == 42
    assert perf.counts[4242] == 1
    assert perf.damaged == 1
    assert perf.events[0].name == "cpu-clock:G"


def test_an_index_of_ids_without_the_second_array() -> None:
    body = struct.pack("<Q4Q", 1, 1, 0, 2**64 - 1, 101)
    perf, _ = read(write.perf_pipe(write.record("<", 69, body)))
    assert perf.origins[1].cpu == -1
    assert perf.origins[1].machine_pid == 0


def test_a_large_expansion_is_given_in_pieces() -> None:
    many = write.sample(ip=1) * 400_000  # 22 MiB that compress to almost nothing
    packed = write.compressed(many, piece=len(many))
    assert len(packed) < 20_000
    perf = PerfData.from_file(io.BytesIO(write.perf_file(packed)))
    sizes = [sum(map(len, chunk)) for chunk in perf.chunks()]
    assert sum(sizes) == 400_000
    assert max(sizes) < 400_000


def test_version_one_of_the_format_tells_its_order_by_its_size() -> None:
    for order in ORDERS:
        data = bytearray(write.perf_file(write.sample(order, ip=3), order))
        data[:8] = b"PERFFILE"
        perf, found = read(bytes(data))
        assert perf.order == order
        assert ips(found) == [3]


@settings(deadline=None, max_examples=30)
@given(
    order=st.sampled_from(ORDERS),
    runs=st.lists(st.tuples(st.integers(1, 80), st.integers(0, 3)), max_size=8),
    block=st.integers(1, 5000),
)
def test_runs_of_any_shape_in_blocks_of_any_size(
    order: Order, runs: list[tuple[int, int]], block: int
) -> None:
    """Alike samples, unlike ones and other records in any mixture, handed over in any pieces."""
    layout = write.GUEST_SAMPLE | SampleField.CALLCHAIN
    records = b""
    expected: list[tuple[int, int]] = []
    for count, length in runs:
        for _ in range(count):
            expected.append((len(expected), length))
            records += write.sample(
                order, sample_type=layout, ip=expected[-1][0], chain=(5,) * length
            )
        records += write.comm(order, 1, 1, "x" * length)
    given = (write.attribute(order, sample_type=layout),)
    data = write.perf_pipe(records, order, attributes=given)

    class Slow(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            return super().read1(block)

    perf = PerfData.from_file(Slow(data))
    found = [
        (int(ip), int(length))
        for chunk in perf.chunks()
        for samples in chunk
        for ip, length in zip(samples.ip, np.diff(samples.callchains().start), strict=True)
    ]
    assert found == expected
