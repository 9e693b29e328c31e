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

FIXTURES = Path(__file__).parents[2] / "fixtures" / "perf"
_ROW = re.compile(r"^\| ([\w-]+) \| ((?:\d+ \| ){7}\d+) \|$", re.MULTILINE)
TABLE = {
    row[1]: tuple(map(int, row[2].replace("|", " ").split()))
    for row in _ROW.finditer((FIXTURES / "README.md").read_text())
}
NAMES = sorted(path.name.removesuffix(".data.xz") for path in FIXTURES.glob("*.data.xz"))


def recording(name: str) -> PerfData:
    data = lzma.decompress((FIXTURES / f"{name}.data.xz").read_bytes())
    return PerfData.from_file(io.BytesIO(data))


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
