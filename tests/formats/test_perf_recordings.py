"""Real recordings of KVM guests, counted against what perf counted (fixtures/perf/README.md)."""

from __future__ import annotations

import io
import lzma
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gprof.perfdata import Feature, PerfData
from gprof.sampling.perf import PerfFile
from gprof.sampling.source import Mode, SampleBatch

FIXTURES = Path(__file__).parents[2] / "fixtures" / "perf"
_ROW = re.compile(r"^\| ([\w-]+) \| ((?:\d+ \| ){7}\d+) \|$", re.MULTILINE)
TABLE = {
    row[1]: tuple(map(int, row[2].replace("|", " ").split()))
    for row in _ROW.finditer((FIXTURES / "README.md").read_text())
}
NAMES = sorted(path.name.removesuffix(".data.xz") for path in FIXTURES.glob("*.data.xz"))


def file_of(name: str) -> io.BytesIO:
    return io.BytesIO(lzma.decompress((FIXTURES / f"{name}.data.xz").read_bytes()))


def recording(name: str) -> PerfData:
    return PerfData.from_file(file_of(name))


def test_every_recording_is_in_the_table() -> None:
    assert sorted(TABLE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_samples_by_mode_and_half_are_those_that_perf_counted(name: str) -> None:
    perf = recording(name)
    counted: Counter[tuple[int, int]] = Counter()
    for chunk in perf.chunks():
        for samples in chunk:
            half = samples.ip >> np.uint64(63)
            pairs, times = np.unique(
                np.column_stack([samples.cpumode, half]), axis=0, return_counts=True
            )
            for (mode, upper), count in zip(pairs.tolist(), times.tolist(), strict=True):
                counted[mode, upper] += count
    by_mode = {mode: counted[mode, 0] + counted[mode, 1] for mode in (4, 5, 1, 2)}
    halves = [counted[mode, upper] for mode in (4, 5) for upper in (1, 0)]
    assert (*by_mode.values(), *halves) == TABLE[name]
    assert (perf.lost, perf.damaged, perf.unattributed, perf.problems) == (0, 0, 0, [])
    assert perf.text(Feature.ARCH) == "x86_64"
    assert perf.text(Feature.VERSION) == "6.1.187"


def test_the_guest_kernel_s_mapping_names_its_reference_symbol() -> None:
    perf = recording("guest-kallsyms")
    list(perf.chunks())
    guests = [mapping for mapping in perf.mappings if mapping.of_guest]
    kernel = guests[-1]
    assert kernel.filename == b"[guest.kernel.kallsyms]_text"
    assert (kernel.pid, kernel.start, kernel.offset) == (0, 0xFFFFFFFFB7000000, 0xFFFFFFFFB7000000)
    assert len(guests) == 18


def test_chains_of_guest_samples_hold_markers_alone() -> None:
    perf = recording("zstd-g")
    host = guest = 0
    for chunk in perf.chunks():
        for samples in chunk:
            of_guest = samples.cpumode >= 4
            host += len(samples.select(~of_guest).callchains().values)
            values = samples.select(of_guest).callchains().values
            guest += int(((values < np.uint64(2**64 - 4095)) & (values > 0)).sum())
    assert host > 5000
    assert guest == 0


def test_threads_carry_the_names_of_vcpus() -> None:
    perf = recording("two-kvmstat")
    list(perf.chunks())
    names = {thread.name for thread in perf.threads}
    assert {b"CPU 0/KVM", b"CPU 1/KVM"} <= names


@pytest.mark.parametrize("name", [name for name in NAMES if TABLE[name][0]])
def test_the_source_gives_every_guest_sample_its_right_mode(name: str) -> None:
    kernel, user, *_, kernel_high, kernel_low, user_high, user_low = TABLE[name]
    source = PerfFile(file_of(name))
    batch = SampleBatch.concatenate(list(source.batches()))
    assert len(batch) == kernel + user
    assert int((batch.mode == Mode.KERNEL).sum()) == kernel_high + user_high
    assert int((batch.mode == Mode.USER).sum()) == kernel_low + user_low
    assert f"wrong mode of {kernel_low + user_high} of" in " ".join(source.facts().notes)
    assert [guest.vcpus for guest in source.guests()] == [(0, 1)] * len(source.guests())
    assert source.facts().asked_hz in {300, 500}


def test_two_guests_are_two_each_with_its_own_kernel() -> None:
    source = PerfFile(file_of("two-guestmount"))
    batch = SampleBatch.concatenate(list(source.batches()))
    found = {
        guest.pid: (
            guest.reference and guest.reference.address,
            len(guest.modules),
            guest.build_id.hex()[:8],
            int((batch.guest == guest.id).sum()),
        )
        for guest in source.guests()
    }
    assert found == {
        1310: (0xFFFFFFFF9C800000, 17, "eb4fbcd0", 4033),
        1313: (0xFFFFFFFFB0600000, 17, "eb4fbcd0", 4044),
    }
    plain = PerfFile(file_of("two-plain"))
    list(plain.batches())
    assert sorted((guest.pid, guest.reference) for guest in plain.guests()) == [
        (1310, None),
        (1313, None),
    ]


def test_exits_of_a_real_recording_give_addresses() -> None:
    source = PerfFile(file_of("two-kvmstat"), exits=True)
    batch = SampleBatch.concatenate(list(source.batches()))
    assert len(batch) == 3838
    assert sorted(guest.pid for guest in source.guests()) == [848, 851]
    assert set(batch.vcpu.tolist()) == {0, 1}
