"""`gprof report` of real recordings against `perf report` of the same (fixtures/perf/README.md).

perf leaves without a name what we name, for reasons of its own:

- samples of cpumode 5 with an address of the kernel, and of cpumode 4 with one of user space, for
  the mode is stale and it believes the mode (`[u] 0xffffffffb7540cc1`);
- every sample of a recording that holds no maps of the guest, whatever symbols it is given.

It prints their addresses instead, so its counts are held against ours by the symbol that the
guest's kallsyms has there, looked up here line by line. Where both print a name, the names differ
at the few addresses that have several: of those perf takes the last one listed, for that one alone
gets a size (symbols__fixup_end comes before symbols__fixup_duplicate in tools/perf/util/symbol.c),
and we go by the rest of its own rules: not weak, and no marker of a region.
"""

from __future__ import annotations

import json
import lzma
from bisect import bisect_right
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gprof.perfdata import PerfData
from tests.in_process import gprof
from tests.perf_fixtures import FIXTURES, guest_mount, unpacked

USER = "[user]"
#: What perf calls it, and what we do.
OTHER_NAMES = {
    "memset": "__memset",
    "memcpy": "__memcpy",
    "__crc32c_le": "__crc32c_le_base",
    "__irqentry_text_start": "irq_entries_start",
    "__irqentry_text_end": "common_interrupt_return",
    "__cpuidle_text_start": "default_idle",
}
ALONE = ("guest-kallsyms", "x-pid", "zstd-g", "pipe-zstd", "x-mixed")
TWO = ("two-plain", "two-guestmount")
#: Recordings without maps of the guest.
UNNAMED = {"pipe-zstd", "two-plain"}


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return guest_mount(tmp_path_factory.mktemp("mount"))


class Symbols:
    """The functions of a guest's kallsyms, looked up one by one."""

    def __init__(self, kallsyms: Path) -> None:
        self._names: dict[int, str] = {}
        for line in kallsyms.read_text().splitlines():
            address, kind, name, *_ = line.split()
            if kind in "tTwW":
                self._names[int(address, 16)] = name  # of several, the last, as perf does
        self._starts = sorted(self._names)

    def name(self, address: int) -> str:
        return self._names[self._starts[bisect_right(self._starts, address) - 1]]


def threads_of(path: Path) -> dict[int, int]:
    """The pid of QEMU by the thread of each vcpu."""
    found: dict[int, int] = {}
    with PerfData.open(path) as perf:
        for chunk in perf.chunks():
            for samples in chunk:
                mine = samples.select(samples.cpumode >= 4)
                found.update(zip(mine.tid.tolist(), mine.pid.tolist(), strict=True))
    return found


def counted_by_perf(
    name: str, threads: dict[int, int], symbols: dict[int, Symbols]
) -> Counter[tuple[int, str]]:
    """Samples by guest and symbol, where perf printed an address by the symbol that is there."""
    found: Counter[tuple[int, str]] = Counter()
    text = lzma.decompress((FIXTURES / f"{name}.report.txt.xz").read_bytes()).decode()
    for line in text.splitlines():
        count, thread, _, _, symbol = line.split(" ")
        pid = threads[int(thread)]
        if symbol.startswith("0x"):
            address = int(symbol, 16)
            symbol = symbols[pid].name(address) if address >> 63 else USER
        found[pid, OTHER_NAMES.get(symbol, symbol)] += int(count)
    return found


def counted_by_us(content: dict[str, Any]) -> Counter[tuple[int, str]]:
    pid_of = {guest["name"]: guest["pid"] for guest in content["guests"]}
    found: Counter[tuple[int, str]] = Counter()
    for row in content["rows"]:
        name = row["symbol"] if row["mode"] != "user" else USER
        found[pid_of[row["guest"]], name] += row["self"]
    return found


def files_of(mount: Path, pid: int) -> list[str]:
    proc = mount / str(pid) / "proc"
    return [f"--guestkallsyms={proc / 'kallsyms'}", f"--guestmodules={proc / 'modules'}"]


@pytest.mark.parametrize("name", [*ALONE, *TWO])
def test_every_symbol_has_the_samples_that_perf_counts(
    name: str, mount: Path, tmp_path: Path
) -> None:
    path = unpacked(name, tmp_path)
    threads = threads_of(path)
    pids = sorted(set(threads.values()))
    given = [f"--guestmount={mount}"] if len(pids) > 1 else files_of(mount, pids[0])
    said = gprof("report", "-i", path, "--json", *given)
    assert (said.code, said.err) == (0, "")
    content = json.loads(said.out)
    symbols = {pid: Symbols(mount / str(pid) / "proc" / "kallsyms") for pid in pids}
    theirs = counted_by_perf(name, threads, symbols)
    assert counted_by_us(content) == theirs
    assert content["samples"] == theirs.total()
    # Percentages are of what is shown: perf's add up to less, for it counts the host's in.
    assert sum(row["self_percent"] for row in content["rows"]) == pytest.approx(100, abs=0.01)
    # What is left without a name is user space alone.
    assert set(content["unresolved"]) == {"user_space"}


@pytest.mark.parametrize("name", [*ALONE, *TWO])
def test_perf_itself_names_only_what_it_has_maps_of(name: str) -> None:
    """What the test above makes up for, counted: were it nothing, that would prove less."""
    text = lzma.decompress((FIXTURES / f"{name}.report.txt.xz").read_bytes()).decode()
    rows = [line.split(" ") for line in text.splitlines()]
    named = sum(int(count) for count, *_, symbol in rows if not symbol.startswith("0x"))
    total = sum(int(count) for count, *_ in rows)
    if name in UNNAMED:
        assert named == 0
    else:
        assert 0.84 < named / total < 0.93
    assert not any(mode == "u" and not symbol.startswith("0x") for *_, mode, symbol in rows)


def test_two_guests_are_told_apart_by_pid_and_by_mount(mount: Path, tmp_path: Path) -> None:
    path = unpacked("two-plain", tmp_path)
    by_mount = gprof("report", "-i", path, "--json", "--guestmount", mount)
    by_pid = gprof(
        *("report", "-i", path, "--json"),
        *(
            f"--guest{what}={pid}={mount / str(pid) / 'proc' / what}"
            for pid in (1310, 1313)
            for what in ("kallsyms", "modules")
        ),
    )
    assert by_pid.code == 0
    assert json.loads(by_pid.out) == json.loads(by_mount.out)
    guests = json.loads(by_mount.out)["guests"]
    assert [(g["name"], g["pid"], g["vcpus"]) for g in guests] == [
        ("pid 1310", 1310, [0, 1]),
        ("pid 1313", 1313, [0, 1]),
    ]


def test_symbols_of_another_guest_are_refused(mount: Path, tmp_path: Path) -> None:
    path = unpacked("two-plain", tmp_path)
    said = gprof("report", "-i", path, *files_of(mount, 1310))
    assert (said.code, said.out) == (5, "")
    assert "the guest pid 1313 is of another boot or another guest" in said.err
    assert "--guestkallsyms PID=FILE" in said.err
    kallsyms = mount / "1310" / "proc" / "kallsyms"
    said = gprof("report", "-i", path, f"--guestkallsyms=1300={kallsyms}")
    assert said.code == 2
    assert "those recorded: 1310, 1313" in said.err


def test_a_kallsyms_of_another_boot_follows_what_perf_noted(mount: Path, tmp_path: Path) -> None:
    """The recording has the address of `_text`, so that the kernel's names are right all the same.

    Modules are loaded elsewhere at every boot: theirs stay ranges, as the recording has them.
    """
    path = unpacked("guest-kallsyms", tmp_path)
    right = gprof("report", "-i", path, "--json", *files_of(mount, 185))
    moved = tmp_path / "kallsyms"
    moved.write_text(
        "".join(
            f"{int(line[:16], 16) - 0x1200000:016x}{line[16:]}\n"
            for line in (mount / "185" / "proc" / "kallsyms").read_text().splitlines()
            if line.startswith("ffff")
        )
    )
    other = gprof("report", "-i", path, "--json", f"--guestkallsyms={moved}")
    assert other.code == 0
    names, others = (
        {
            row["symbol"]: row["self"]
            for row in json.loads(said.out)["rows"]
            if row["module"] == "[kernel]"
        }
        for said in (right, other)
    )
    assert others == names
    modules = {row["module"] for row in json.loads(other.out)["rows"]} - {"[kernel]", USER}
    assert "ext4" in modules
    assert set(json.loads(other.out)["unresolved"]) == {"user_space", "no_symbols"}


@pytest.mark.parametrize("name", ALONE)
def test_without_symbols_rows_are_pages_and_what_would_name_them_is_told(
    name: str, tmp_path: Path
) -> None:
    said = gprof("report", "-i", unpacked(name, tmp_path))
    assert said.code == 0
    rows = [line for line in said.out.splitlines() if not line.startswith("#")]
    assert all(
        "user" in row or "[kernel]+0x" in row or "000 " in row or "+0x" in row for row in rows
    )
    assert len(rows) < 700
    assert "Samples without a symbol:" in said.out
    assert "--guestkallsyms FILE" in said.out


def test_without_symbols_every_guest_is_told_what_would_name_it(tmp_path: Path) -> None:
    path = unpacked("two-plain", tmp_path)
    said = gprof("report", "-i", path)
    assert said.code == 0
    for pid in (1310, 1313):
        line = next(line for line in said.out.splitlines() if f"pid {pid}: no symbols" in line)
        assert f"--guestvmlinux {pid}=FILE or --guestkallsyms {pid}=FILE" in line
    content = json.loads(gprof("report", "-i", path, "--json").out)
    kernel = [row for row in content["rows"] if row["mode"] == "kernel"]
    assert all(row["symbol"] is None and int(row["address"], 16) % 4096 == 0 for row in kernel)
    assert len({(row["guest"], row["address"]) for row in kernel}) == len(kernel)
    assert {row["guest"] for row in content["rows"]} == {"pid 1310", "pid 1313"}


def test_host_samples_are_a_guest_of_their_own(tmp_path: Path) -> None:
    path = unpacked("two-plain", tmp_path)
    without = json.loads(gprof("report", "-i", path, "--json").out)
    said = gprof("report", "-i", path, "--json", "--host")
    content = json.loads(said.out)
    host = sum(row["self"] for row in content["rows"] if row["guest"] == "host")
    assert host == 829 + 155  # cpumode 1 and 2 of fixtures/perf/README.md
    assert content["samples"] - host == without["samples"] == 6724
    text = gprof("report", "-i", path, "--host").out
    assert "host: no symbols of the kernel were given; gprof names guests" in text


def test_the_addresses_at_exits_have_names_too(mount: Path, tmp_path: Path) -> None:
    path = unpacked("two-kvmstat", tmp_path)
    said = gprof("report", "-i", path, "--json", "--exits", "--guestmount", mount)
    assert said.code == 0
    content = json.loads(said.out)
    assert content["samples"] == 3838
    names = {row["symbol"] for row in content["rows"][:5]}
    assert "native_write_msr" in names
    without = gprof("report", "-i", path)
    assert without.code == 0
    assert "# no samples" in without.out
    assert "take the addresses at VM exits" in without.out
