"""Images that are named beside the kernel: a unikernel, and what is no longer where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gprof.guest.demo import DemoGuest
from symbols.elf import Image
from tests.command_line import PCS_ONLY, gprof

WORK = {"checksum_blocks", "copy_pages", "scan_free_list", "hash_lookup"}


def report(path: Path) -> dict[str, float]:
    content = json.loads(gprof("report", "-i", path, "--json", "--no-idle").stdout)
    return {row["symbol"] or row["module"]: row["self_percent"] for row in content["rows"]}


@pytest.mark.parametrize("way", ["gdb", "qmp"])
def test_a_unikernel_needs_no_kernel(demo_guest: DemoGuest, tmp_path: Path, way: str) -> None:
    path = tmp_path / "x.gprof"
    address = demo_guest.gdb_address if way == "gdb" else demo_guest.qmp_address
    gprof("record", f"--{way}", address, *PCS_ONLY, "--symbols", demo_guest.image, "-d", "3",
          "-o", path)  # fmt: skip
    shares = report(path)
    assert sum(shares.get(name, 0.0) for name in WORK) > 90


@pytest.mark.parametrize("way", ["gdb", "qmp"])
def test_what_is_not_there_names_nothing(demo_guest: DemoGuest, tmp_path: Path, way: str) -> None:
    """A boot loader was where the program is now; its file is given as well, and last."""
    path, loader = tmp_path / "x.gprof", tmp_path / "loader.bin"
    image = Image.open(demo_guest.image)
    loader.write_bytes(bytes(range(256)) * 4096)
    address = demo_guest.gdb_address if way == "gdb" else demo_guest.qmp_address
    gprof("record", f"--{way}", address, *PCS_ONLY, "-d", "3", "-o", path,
          "--symbols", demo_guest.image,
          "--symbols", f"{loader}@{image.text_ranges[0][0] & ~0xFFF:#x}")  # fmt: skip
    shares = report(path)
    assert "loader.bin" not in shares
    assert sum(shares.get(name, 0.0) for name in WORK) > 90
