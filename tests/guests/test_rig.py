"""The rig itself: the guests come up, work, and tell what other tests compare with."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.guests.device_tree import SEED, with_seed
from tests.guests.initramfs import load_order
from tests.guests.kaslr import without_test_of_kmc
from tests.guests.linux import LinuxGuest
from tests.guests.watched_demo import WatchedDemo
from tests.monitor import Monitor


def symbol_addresses(guest: LinuxGuest) -> dict[str, int]:
    """Addresses of the kernel's own symbols."""
    lines = [line.split() for line in guest.kallsyms.read_text().splitlines()]
    return {line[2]: int(line[0], 16) for line in lines if len(line) == 3}


def test_guest_runs_the_kernel_of_the_archive(linux_guest: LinuxGuest) -> None:
    assert linux_guest.run("uname -r").decode().strip() == linux_guest.kernel.release
    assert linux_guest.run("nproc").decode().strip() == str(linux_guest.vcpus)
    with linux_guest.vmlinux.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    assert Path(linux_guest.gdb_address).is_socket()
    assert Path(linux_guest.qmp_address).is_socket()


def test_kallsyms_shows_addresses_of_kernel_and_modules(linux_guest: LinuxGuest) -> None:
    addresses = symbol_addresses(linux_guest)
    assert len(addresses) > 50_000
    # Where the decompressor may put the kernel: 2 MiB steps above its link address.
    assert addresses["_stext"] >= 0xFFFFFFFF81000000
    assert addresses["_stext"] % 0x200000 == 0
    assert "[zram]" in linux_guest.kallsyms.read_text()


def test_modules_are_loaded_at_addresses(linux_guest: LinuxGuest) -> None:
    loaded = {
        line.split()[0]: int(line.split()[5], 16)
        for line in linux_guest.modules.read_text().splitlines()
    }
    assert loaded.keys() >= {"zram", "zsmalloc", "zstd_compress", "virtio_console"}
    assert all(loaded.values())


def test_profile_counts_ticks_in_text(linux_guest: LinuxGuest) -> None:
    linux_guest.reset_profile()
    profile = linux_guest.read_profile()
    addresses = symbol_addresses(linux_guest)
    assert profile.step == 4
    assert profile.start == addresses["_stext"]
    length = addresses["_etext"] - addresses["_stext"]
    assert len(profile.counts) == length // profile.step
    # Both vcpus work all the time: to read the counters alone takes hundreds of ticks.
    assert profile.counts.sum() > 0
    assert profile.counts[:-1].max() < profile.counts.sum()


def test_commands_see_failure_and_odd_output(linux_guest: LinuxGuest) -> None:
    assert linux_guest.run("printf '.\\n\\000\\377'") == b".\n\x00\xff"
    assert b"none/such" in linux_guest.run("cat /none/such")
    assert linux_guest.run("true") == b""


def test_demo_guest_runs(demo_guest: WatchedDemo) -> None:
    with Monitor(demo_guest.qmp_address) as monitor:
        assert monitor.is_running()
    assert Path(demo_guest.gdb_address).is_socket()


def test_load_order_puts_dependencies_first(tmp_path: Path) -> None:
    def write(name: str, depends: str) -> None:
        (tmp_path / name).write_bytes(b"\x7fELF\0name=x\0depends=" + depends.encode() + b"\0\0")

    write("top-one.ko", "left,right_one")
    write("left.ko", "bottom")
    write("right-one.ko", "bottom,left")
    write("bottom.ko", "")
    assert load_order(["top_one", "builtin", "left"], tmp_path) == [
        "bottom",
        "left",
        "right_one",
        "top_one",
    ]


@pytest.mark.parametrize("text", [b"", b"no such key"])
def test_module_without_dependencies_stands_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lone.ko").write_bytes(text)
    assert load_order(["lone"], tmp_path) == ["lone"]


def test_a_kernel_of_s390x_asks_for_random_numbers_that_it_gets() -> None:
    # la %r1,288(%r15); xgr %r0,%r0; kmc %r2,%r4; tm 296(%r15),16; je
    asks = bytes.fromhex("4110f120 b9820000 b92f0024 9110f128 a784ffe5")
    # Its loops over KMC and its test of PRNO stay.
    others = bytes.fromhex("b92f002a a714fffe b93c0024 9120f12e a784ff89")
    moving = without_test_of_kmc(others + asks + others)
    assert moving == others + asks.replace(b"\x91\x10\xf1\x28", b"\x91\x80\xf1\x20") + others
    with pytest.raises(AssertionError, match="in another way"):
        without_test_of_kmc(others)


def test_a_tree_of_devices_gets_a_seed_and_keeps_what_it_has() -> None:
    names = b"model\0"
    chosen = b"\0\0\0\1chosen\0\0"
    model = struct.pack(">3I", 3, 4, 0) + b"abc\0"
    nodes = b"\0\0\0\1\0\0\0\0" + chosen + model + b"\0\0\0\2" * 2 + b"\0\0\0\x09"
    reserved = bytes(16)
    places = 56, 56 + len(nodes), 40
    size = places[1] + len(names)
    head = struct.pack(">10I", 0xD00DFEED, size, *places, 17, 16, 0, len(names), len(nodes))
    tree = with_seed(head + reserved + nodes + names)
    _, size, at, names_at, _, version, *_, names_size, nodes_size = struct.unpack(">10I", tree[:40])
    assert (size, version) == (len(tree), 17)
    seed = struct.pack(">3IQ", 3, 8, len(names), SEED)
    assert tree[at:][:nodes_size] == nodes.replace(chosen, chosen + seed)
    assert tree[names_at:][:names_size] == names + b"kaslr-seed\0"
    assert tree[40:56] == reserved
    assert at % 4 == 0
