"""The main job on a real kernel: what it does is found, named, and agrees with what it says."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gprof.attach import Attached, attach
from gprof.guest.address import Address
from gprof.guest.demo import demo_file
from gprof.live import Live
from gprof.sampling.source import Mode
from gprof.sampling_way import source_of
from gprof.sources import Sources
from symbols.elf import Image
from symbols.idle import is_idle
from symbols.slide import Method, Verified
from tests.command_line import end, gprof, started
from tests.guests.linux import LinuxGuest
from tests.guests.recordings import await_samples, await_session
from tests.monitor import Monitor
from tests.waiting import PATIENCE

#: For each recording; half of them of either vcpu, most of them of its kernel.
SAMPLES = 3000
FAST = ("-F", "499", "--max-halted", "100")


@dataclass(frozen=True, slots=True)
class Report:
    """What `gprof report --json` says of a recording of the guest's kernel."""

    content: dict[str, Any]

    @property
    def kernel(self) -> list[dict[str, Any]]:
        """The rows of samples in kernel mode."""
        return [row for row in self.content["rows"] if row["mode"] in {"kernel", "idle"}]

    def samples(self, rows: list[dict[str, Any]]) -> int:
        return sum(row["self"] for row in rows)

    def resolved(self) -> float:
        """The share of samples in kernel mode that have a symbol."""
        named = [row for row in self.kernel if row["symbol"] is not None]
        return self.samples(named) / self.samples(self.kernel)

    def of_module(self, name: str) -> set[str]:
        return {row["symbol"] for row in self.kernel if row["module"] == name}


def record(guest: LinuxGuest, folder: Path, *symbols: str | Path) -> Report:
    """Record the guest at work until there are enough samples, and report."""
    path = folder / "linux.gprof"
    with (
        Monitor(guest.qmp_address) as monitor,
        started("record", "--gdb", guest.gdb_address, *FAST, *symbols, "-o", path) as process,
    ):
        await_samples(path, SAMPLES)
        code, _, said = end(process, signal.SIGINT)
        assert code == 0, said
        assert monitor.is_running()
    return Report(json.loads(gprof("report", "-i", path, "--json").stdout))


@contextmanager
def attached(guest: LinuxGuest, sources: Sources) -> Iterator[Attached]:
    found = attach(Address.parse(guest.gdb_address), sources)
    try:
        yield found
    finally:
        found.close()


def kernel_text(guest: LinuxGuest) -> tuple[int, int]:
    """First address of the kernel's text, and the one after its last."""
    found = {}
    for line in guest.kallsyms.read_text().splitlines():
        address, _, name = line.split("\t")[0].split(" ", 2)
        if name in {"_stext", "_etext"}:
            found[name] = int(address, 16)
    return found["_stext"], found["_etext"]


def test_everything_in_the_kernel_has_a_name(linux_guest: LinuxGuest, tmp_path: Path) -> None:
    report = record(
        linux_guest,
        tmp_path,
        *("--guestvmlinux", linux_guest.vmlinux),
        *("--guestkallsyms", linux_guest.kallsyms),
        *("--guestmodules", linux_guest.modules),
    )
    print(f"resolved {100 * report.resolved():.2f} % of {report.samples(report.kernel)}")  # noqa: T201 - evidence
    assert report.samples(report.kernel) > SAMPLES / 2
    assert report.resolved() >= 0.99, report.content["unresolved"]
    assert report.of_module("zstd_compress")
    assert report.of_module("zram")
    assert report.content["guests"][0]["kernel"] == linux_guest.kernel.release
    assert report.content["guests"][0]["build_id"] == Image.open(linux_guest.vmlinux).build_id.hex()


def test_kallsyms_alone_names_everything(linux_guest: LinuxGuest, tmp_path: Path) -> None:
    report = record(linux_guest, tmp_path, "--guestkallsyms", linux_guest.kallsyms)
    print(f"resolved {100 * report.resolved():.2f} % of {report.samples(report.kernel)}")  # noqa: T201 - evidence
    assert report.resolved() >= 0.99, report.content["unresolved"]
    assert report.of_module("zstd_compress")
    assert report.content["guests"][0]["kernel"] == linux_guest.kernel.release


def test_vmlinux_alone_names_the_modules_too(linux_guest: LinuxGuest, tmp_path: Path) -> None:
    report = record(linux_guest, tmp_path, "--guestvmlinux", linux_guest.vmlinux)
    print(f"resolved {100 * report.resolved():.2f} % of {report.samples(report.kernel)}")  # noqa: T201 - evidence
    start, after = kernel_text(linux_guest)
    # Rows without samples of their own are callers: tests of stacks judge those.
    sampled = [row for row in report.kernel if row["self"]]
    inside = [row for row in sampled if start <= int(row["address"], 16) < after]
    assert report.samples(inside) > SAMPLES / 8
    assert not [row for row in inside if row["symbol"] is None]
    # The guest's own list says which module is where, and the symbols of each.
    assert report.resolved() >= 0.99, report.content["unresolved"]
    assert report.of_module("zstd_compress")
    assert report.of_module("zram")


def test_slide_is_found_in_several_ways_and_proven(linux_guest: LinuxGuest) -> None:
    sources = Sources.open(linux_guest.vmlinux, linux_guest.kallsyms, linux_guest.modules)
    with attached(linux_guest, sources) as found:
        assert found.slide is not None
        assert set(found.slide.agreeing) >= {Method.KALLSYMS, Method.VECTOR, Method.FIRST_PAGE}
        assert found.slide.verified is Verified.BUILD_ID
        linked = Image.open(linux_guest.vmlinux).address_of("_stext")
        assert linked is not None
        assert linked + found.slide.offset == kernel_text(linux_guest)[0]
    with attached(linux_guest, Sources.open(linux_guest.vmlinux, None, None)) as alone:
        assert alone.slide is not None
        assert alone.slide.offset == found.slide.offset
        assert alone.slide.verified is Verified.BUILD_ID


def test_wrong_kernels_are_refused_by_name(linux_guest: LinuxGuest, tmp_path: Path) -> None:
    other = tmp_path / "vmlinux-other"
    build_id = Image.open(linux_guest.vmlinux).build_id
    subprocess.run(["objcopy", "--strip-debug", linux_guest.vmlinux, other], check=True)
    content = other.read_bytes()
    assert content.count(build_id) >= 1
    other.write_bytes(content.replace(build_id, bytes(len(build_id) - 1) + b"\1"))
    for wrong, names in (
        (other, (bytes(len(build_id) - 1).hex() + "01", build_id.hex())),
        (demo_file("demo.elf"), ("demo.elf", "another kernel")),
    ):
        path = tmp_path / "never.gprof"
        done = gprof(
            *("record", "--gdb", linux_guest.gdb_address, "--guestvmlinux", wrong),
            *("-d", "5", "-o", path),
            code=5,
        )
        assert all(name in done.stderr for name in names), done.stderr
        assert not path.exists()
        with Monitor(linux_guest.qmp_address) as monitor:
            assert monitor.is_running()


def test_hidden_addresses_are_refused_with_a_remedy(
    linux_guest: LinuxGuest, tmp_path: Path
) -> None:
    linux_guest.run("echo 2 >/proc/sys/kernel/kptr_restrict")
    hidden = tmp_path / "kallsyms"
    try:
        hidden.write_bytes(linux_guest.run("cat /proc/kallsyms"))
    finally:
        linux_guest.run("echo 0 >/proc/sys/kernel/kptr_restrict")
    done = gprof("record", "--gdb", linux_guest.gdb_address, "--guestkallsyms", hidden, code=5)
    assert "kptr_restrict" in done.stderr


def shares_of_ticks(guest: LinuxGuest, space: Attached) -> Counter[str]:
    """Ticks of the guest's own profile by function of the kernel, idle ones left out."""
    profile = guest.read_profile()
    # The last counter also takes every pc outside the kernel's text.
    counted = np.flatnonzero(profile.counts[:-1])
    addresses = counted.astype(np.uint64) * np.uint64(profile.step) + np.uint64(profile.start)
    return functions(space, addresses, profile.counts[counted].astype(np.int64))


def functions(
    found: Attached, addresses: NDArray[np.uint64], weights: NDArray[np.int64]
) -> Counter[str]:
    resolved = found.space.resolve(addresses)
    weight_of: Counter[str] = Counter()
    columns = (resolved.image, resolved.symbol, weights)
    for image, symbol, weight in zip(*(column.tolist() for column in columns), strict=True):
        if symbol >= 0:
            name = found.space.symbol(image, symbol).symbol.name
            if not is_idle(name):
                weight_of[name] += weight
    return weight_of


def overlap(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The sum of the minima of two distributions' shares: 1 if they are equal."""
    ones, others = sum(one.values()), sum(other.values())
    return sum(min(one[name] / ones, other.get(name, 0) / others) for name in one)


def by_chance(
    samples: Mapping[str, int], sizes: tuple[int, int], rng: np.random.Generator
) -> float:
    """The overlap that two random draws from one distribution have."""
    counts = np.array(list(samples.values()), float)
    draws = [rng.multinomial(size, counts / counts.sum()) / size for size in sizes]
    return float(np.minimum(*draws).sum())


@pytest.mark.timeout(1200)
def test_samples_agree_with_the_profile_of_the_guest_itself(linux_guest: LinuxGuest) -> None:
    """Samples from outside, and the kernel's timer tick inside, over the same time.

    The tick is an interrupt, so it never sees code that runs with interrupts off, its own among
    it; it finds `_raw_spin_unlock_irqrestore` instead, where they are switched on again. gprof
    sees both. These functions hold a seventh of the time here, which the bound allows for.
    """
    sources = Sources.open(linux_guest.vmlinux, linux_guest.kallsyms, linux_guest.modules)
    found = attach(Address.parse(linux_guest.gdb_address), sources)
    source = source_of(found, hz=499, max_halted=1.0)
    live = Live(source, lambda: ({0: found.guest}, {0: found.space}))
    live.start()
    try:
        linux_guest.reset_profile()
        began = time.monotonic_ns()
        await_session(
            live,
            lambda profile: (profile.samples.mode == Mode.KERNEL).sum() >= 12_000,
            "12000 samples of the kernel",
            patience=900,  # of the 1200 s that pytest gives; most samples are of user space
        )
        linux_guest.run("cat /proc/profile >/tmp/profile")
        ended = time.monotonic_ns()
    finally:
        live.stop()
        assert live.wait(PATIENCE)
    ticks = shares_of_ticks(linux_guest, found)
    samples = live.snapshot().samples
    start, after = kernel_text(linux_guest)
    chosen = samples.select(
        (samples.time >= began)
        & (samples.time <= ended)
        & (samples.mode == Mode.KERNEL)
        & (samples.pc >= np.uint64(start))
        & (samples.pc < np.uint64(after))
    )
    ours = functions(found, chosen.pc, chosen.weight.astype(np.int64))
    rng = np.random.default_rng(1)
    sizes = (ours.total(), ticks.total())
    possible = by_chance(ours, sizes, rng)
    agreed = overlap(ours, ticks)
    seconds = (ended - began) / 1e9
    lines = [
        f"{ours.total()} samples, {ticks.total()} ticks in {seconds:.0f} s",
        f"overlap {100 * agreed:.1f} %; of equal distributions {100 * possible:.1f} %",
    ]
    lines += [
        f"{100 * ours[name] / sizes[0]:6.2f} % {100 * ticks[name] / sizes[1]:6.2f} %  {name}"
        for name, _ in (ours + ticks).most_common(15)
    ]
    print("\n".join(lines))  # noqa: T201 - evidence
    assert min(sizes) > 500
    assert agreed >= 0.6 * possible, lines
