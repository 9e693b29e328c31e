"""The perf source on made-up recordings."""

from __future__ import annotations

import io
import os
import struct
import threading
from pathlib import Path

import pytest

from gprof.errors import PermissionProblem, TargetError, TargetGone, UsageError
from gprof.perfdata import EventType, Feature, PerfDataError, SampleField
from gprof.perfdata.cursor import Order
from gprof.sampling.interruptible import InterruptiblePipe
from gprof.sampling.perf import PerfFile
from gprof.sampling.perf_guests import hypervisor_name
from gprof.sampling.perf_live import PerfLive, RunningPerf, exit_command, sample_command
from gprof.sampling.source import Mode, SampleBatch
from tests import perf_writer as write
from tests.waiting import PATIENCE

KERNEL, USER = 0xFFFF_FFFF_8100_0000, 0x40_0000


def taken(source: PerfFile | PerfLive) -> SampleBatch:
    return SampleBatch.concatenate(list(source.batches()))


def source_of(records: bytes, **options: bool | str) -> PerfFile:
    return PerfFile(io.BytesIO(write.perf_pipe(records)), **options)  # type: ignore[arg-type]


def test_where_mode_and_address_disagree_the_address_decides() -> None:
    source = source_of(
        write.sample(misc=4, ip=KERNEL)
        + write.sample(misc=4, ip=USER)
        + write.sample(misc=5, ip=KERNEL)
        + write.sample(misc=5, ip=USER)
    )
    assert taken(source).mode.tolist() == [Mode.KERNEL, Mode.USER, Mode.KERNEL, Mode.USER]
    assert "wrong mode of 2 of 4" in " ".join(source.facts().notes)


def test_without_split_halves_the_mode_is_believed() -> None:
    arch: dict[int, bytes] = {Feature.ARCH: write.counted("<", "s390x")}
    data = write.perf_file(write.sample(misc=4, ip=USER), features=arch)
    source = PerfFile(io.BytesIO(data))
    assert taken(source).mode.tolist() == [Mode.KERNEL]
    assert source.architecture == "s390x"


def test_guests_are_told_apart_by_pid_and_vcpus_by_the_names_of_their_threads() -> None:
    order: Order = "<"
    source = source_of(
        write.comm(order, 100, 103, "CPU 3/KVM")
        + write.comm(order, 100, 102, "CPU 0/KVM")
        + write.comm(order, 200, 200, "web-server")
        + write.mapping(
            order, "[guest.kernel.kallsyms.100]_stext", KERNEL, 99, offset=KERNEL, pid=100
        )
        + write.mapping(order, "/lib/modules/6.1/extra/nf-nat.ko.xz", USER, 9, pid=100)
        + write.sample(pid=200, tid=202, time=1)
        + write.sample(pid=100, tid=103, time=2)
        + write.sample(pid=100, tid=102, time=3)
        + write.sample(pid=200, tid=201, time=4)
    )  # fmt: skip
    batch = taken(source)
    first, second = source.guests()
    assert (first.pid, first.name, first.vcpus) == (100, "pid 100", (0, 3))
    assert (second.pid, second.name, second.vcpus) == (200, "web-server", (0, 1))
    assert batch.guest.tolist() == [1, 0, 0, 1]
    assert batch.vcpu.tolist() == [1, 3, 0, 0]
    assert first.reference is not None
    assert (first.reference.symbol, first.reference.address) == ("_stext", KERNEL)
    assert first.reference.slide(KERNEL - 0x1000) == 0x1000
    assert [module.name for module in first.modules] == ["nf_nat"]
    assert second.reference is None
    assert "order of their threads" in " ".join(source.facts().notes)


def test_one_set_of_maps_for_all_belongs_to_a_guest_only_if_there_is_one() -> None:
    kernel = write.mapping("<", "[guest.kernel.kallsyms]_text", KERNEL, 99, offset=KERNEL)
    alone = source_of(kernel + write.sample(pid=1))
    taken(alone)
    assert alone.guests()[0].reference is not None
    two = source_of(kernel + write.sample(pid=1) + write.sample(pid=2))
    taken(two)
    assert [guest.reference for guest in two.guests()] == [None, None]


def test_an_index_of_ids_tells_machine_and_vcpu() -> None:
    source = source_of(
        write.id_index("<", (1, 0, 0, 0, 555, 7)) + write.sample(pid=9, tid=9, number=1)
    )
    assert taken(source).vcpu.tolist() == [7]
    assert [guest.pid for guest in source.guests()] == [555]


def test_host_samples_are_kept_apart_unless_asked_for() -> None:
    records = write.sample(misc=4) + write.sample(misc=1, pid=5, cpu=2) + write.sample(misc=2)
    source = source_of(records)
    assert len(taken(source)) == 1
    assert "2 samples of the host" in " ".join(source.facts().notes)
    shown = source_of(records, host=True)
    batch = taken(shown)
    assert len(batch) == 3
    host = next(guest for guest in shown.guests() if guest.is_host)
    assert batch.select(batch.guest == host.id).mode.tolist() == [Mode.KERNEL, Mode.USER]


def test_batches_are_in_the_order_of_time() -> None:
    source = source_of(b"".join(write.sample(time=t, ip=t) for t in (5, 6, 7, 1, 2, 3)))
    batch = taken(source)
    assert batch.time.tolist() == [1, 2, 3, 5, 6, 7]
    assert batch.pc.tolist() == [1, 2, 3, 5, 6, 7]
    assert source.facts().covered_ns == 6


@pytest.mark.parametrize(
    ("kind", "config", "flags", "weights"),
    [(1, 0, 1 << 10, [1, 1]), (0, 0, 0, [1, 1]), (0, 0, 1 << 10, [5, 2**32 - 1])],
    ids=["clock", "every nth", "by frequency"],
)
def test_the_period_weighs_where_it_tells_more_than_the_count(
    kind: int, config: int, flags: int, weights: list[int]
) -> None:
    event = write.attribute(kind=kind, config=config, flags=flags)
    records = write.sample(period=5) + write.sample(period=2**40)
    source = PerfFile(io.BytesIO(write.perf_pipe(records, attributes=(event,))))
    assert taken(source).weight.tolist() == weights


def several_events() -> bytes:
    events = (write.attribute(config=0), write.attribute(kind=0, config=0))
    records = (
        write.sample(number=2, misc=1)
        + write.sample(number=1, ip=1)
        + write.sample(number=3, ip=2)
    )  # fmt: skip
    return write.perf_pipe(
        records, attributes=events, ids=((1, 2), (3,)), names=("cpu-clock:G", "cycles:G")
    )


def test_one_event_is_shown_and_the_others_are_told() -> None:
    source = PerfFile(io.BytesIO(several_events()))
    assert taken(source).pc.tolist() == [1]
    assert "1 guest samples of other events" in " ".join(source.facts().notes)
    assert taken(PerfFile(io.BytesIO(several_events()), event="cycles")).pc.tolist() == [2]
    with pytest.raises(UsageError, match="no event faults"):
        taken(PerfFile(io.BytesIO(several_events()), event="faults"))


def kvm_exits() -> bytes:
    kind = write.GUEST_SAMPLE | SampleField.RAW
    attributes = tuple(
        write.attribute(kind=EventType.TRACEPOINT, config=config, sample_type=kind, period=1)
        for config in (1001, 1002)
    )
    records = b""
    for i in range(4):
        left = struct.pack("<8xII QII", 0x78, 0, KERNEL + i, 2, 1)
        back = struct.pack("<8xII Q", 1, 0, KERNEL + i)
        records += write.sample(sample_type=kind, misc=1, number=2, time=10 * i, raw=left)
        records += write.sample(sample_type=kind, misc=1, number=1, time=10 * i + 4, raw=back)
    return write.perf_file(
        records,
        attributes=attributes,
        ids=((1,), (2,)),
        features={Feature.TRACING_DATA: write.TracingWriter().data()},
    )


def test_exits_stand_in_where_no_sample_can_be_had() -> None:
    silent = PerfFile(io.BytesIO(kvm_exits()))
    assert len(taken(silent)) == 0
    assert "nothing but tracepoints" in " ".join(silent.facts().notes)
    source = PerfFile(io.BytesIO(kvm_exits()), exits=True)
    batch = taken(source)
    assert batch.pc.tolist() == [KERNEL + i for i in range(4)]
    assert set(batch.vcpu.tolist()) == {1}
    assert set(batch.mode.tolist()) == {Mode.KERNEL}
    assert "not samples of time" in " ".join(source.facts().notes)


@pytest.mark.parametrize(
    ("event", "cpu", "words"),
    [
        (write.attribute(kind=0, flags=1 << 20), "", "exclude_guest"),
        (write.attribute(kind=0, flags=2 << 15), "GenuineIntel,6,85", "PEBS"),
        (write.attribute(kind=0), "", "hardware counter"),
        (write.attribute(kind=1), "", "CONFIG_GUEST_PERF_EVENTS"),
    ],
)
def test_a_recording_without_guest_samples_says_why(event: bytes, cpu: str, words: str) -> None:
    features: dict[int, bytes] = {Feature.CPUID: write.counted("<", cpu)}
    data = write.perf_file(write.sample(misc=1), attributes=(event,), features=features)
    source = PerfFile(io.BytesIO(data))
    taken(source)
    assert words in " ".join(source.facts().notes)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("qemu-system-x86_64 -name web -m 1G", "web"),
        ("qemu -name guest=db,debug-threads=on", "db"),
        ("qemu -name db,process=x", "db"),
        ("qemu -name debug-threads=on", ""),
        ("qemu -m 1G -name", ""),
        ("", ""),
    ],
)
def test_names_come_from_qemu_s_command_line(line: str, name: str) -> None:
    assert hypervisor_name(line.encode().split()) == name


def test_a_hostile_name_is_shown_harmless() -> None:
    source = source_of(write.comm("<", 100, 100, "\x1b[2J") + write.sample())
    taken(source)
    assert source.guests()[0].name == "\\x1b[2J"


def test_more_guests_than_can_be_numbered_are_counted_as_the_last() -> None:
    one = write.sample()
    many = b"".join(one[:16] + struct.pack("<ii", i, i) + one[24:] for i in range(1, 70_001))
    source = source_of(many)
    batch = taken(source)
    assert int(batch.guest.max()) == 65535
    assert len(batch) == 70_000


def test_close_sends_a_reader_of_a_stream_home() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as sink:
        sink.write(write.perf_pipe(write.sample(ip=1)))
        source = PerfFile(stream)
        batches = source.batches()
        assert next(batches).pc.tolist() == [1]
        closer = threading.Timer(0.05, source.close)
        closer.start()
        assert list(batches) == []
        closer.join(PATIENCE)


def test_an_interrupted_pipe_stays_at_its_end() -> None:
    reading, writing = os.pipe()
    try:
        pipe = InterruptiblePipe(reading)
        os.write(writing, b"abc")
        assert pipe.read1(2) == b"ab"
        pipe.interrupt()
        pipe.interrupt()
        assert pipe.read1(2) == b""
        pipe.close()
        pipe.close()
        pipe.interrupt()
    finally:
        os.close(reading)
        os.close(writing)


@pytest.fixture
def fake_perf(tmp_path: Path) -> Path:
    path = tmp_path / "perf"
    path.write_text('#!/bin/sh\ncat "$1"\necho "$2" >&2\nexit "$3"\n')
    path.chmod(0o755)
    return path


def test_a_perf_that_runs_is_read_to_its_end(fake_perf: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(write.perf_pipe(write.sample(ip=1) + write.sample(ip=2)))
    live = PerfLive([str(fake_perf), str(data), "", "0"])
    assert taken(live).pc.tolist() == [1, 2]
    assert [guest.pid for guest in live.guests()] == [100]


def test_a_perf_that_may_not_says_what_to_do(fake_perf: Path) -> None:
    said = "Access to performance monitoring is limited. Permission denied \x1b[31m"
    with pytest.raises(PermissionProblem, match="perf_event_paranoid is") as caught:
        PerfLive([str(fake_perf), "/dev/null", said, "255"])
    assert "sysctl" in caught.value.remedy
    assert "\x1b" not in str(caught.value)


def test_a_perf_that_fails_midway_gives_what_it_had(fake_perf: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(write.perf_pipe(write.sample(ip=1)))
    live = PerfLive([str(fake_perf), str(data), "out of memory", "3"])
    batches = live.batches()
    assert next(batches).pc.tolist() == [1]
    with pytest.raises(TargetGone, match="out of memory"):
        list(batches)


def test_of_a_long_complaint_the_last_whole_words_are_told(fake_perf: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(write.perf_pipe(write.sample(ip=1)))
    live = PerfLive([str(fake_perf), str(data), "complaint " * 100 + "out of memory", "3"])
    with pytest.raises(TargetGone, match=r": … (complaint )+out of memory\n"):
        list(live.batches())


def test_a_missing_perf_and_a_useless_one(fake_perf: Path, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be started"):
        RunningPerf([str(tmp_path / "none")])
    with pytest.raises(PerfDataError):
        PerfLive([str(fake_perf), "/dev/null", "", "0"])


def test_a_perf_that_is_stopped_writes_its_last_and_is_no_failure(tmp_path: Path) -> None:
    data, more = tmp_path / "data", tmp_path / "more"
    data.write_bytes(write.perf_pipe(write.sample(ip=1)))
    more.write_bytes(write.sample(ip=2))
    script = tmp_path / "perf"
    script.write_text(
        f"#!/bin/sh\ntrap 'cat {more}; exit 130' INT\ncat {data}\nwhile :; do sleep 0.01; done\n"
    )
    script.chmod(0o755)
    live = PerfLive([str(script)])
    batches = live.batches()
    assert next(batches).pc.tolist() == [1]
    live.close()
    assert SampleBatch.concatenate(list(batches)).pc.tolist() == [2]


def test_commands_ask_for_what_is_measured() -> None:
    sampling = " ".join(sample_command(frequency=499, pid=7))
    assert sampling == "perf kvm --guest record -e cpu-clock -F 499 -m 8 -p 7 -o -"
    assert "--host --guest" in " ".join(sample_command(host=True))
    command = exit_command("x86_64")
    assert command[-2:] == ["-o", "-"]
    assert {"kvm:kvm_entry", "kvm:kvm_exit"} <= set(command)
