"""What stops do besides, by what a real QEMU says of its disks and devices."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from gprof.guest.demo import DemoGuest
from tests.command_line import gprof


class GuestWithDisks(DemoGuest):
    """The demo guest with a disk that is flushed, one that is not, and one that nobody writes."""

    def extra_arguments(self) -> Sequence[str]:
        disk = self.directory / "disk"
        disk.write_bytes(bytes(1 << 16))
        common = f"file={disk},format=raw,if=virtio,file.locking=off"
        return (
            *("-drive", f"{common},id=kept"),
            *("-drive", f"{common},id=careless,cache=unsafe"),
            *("-drive", f"{common},id=fixed,readonly=on"),
            *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
        )


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", ["stub", "both", "monitor"])
def test_doctor_names_the_disks_that_every_stop_flushes(way: str) -> None:
    with GuestWithDisks() as guest:
        stub, monitor = ("--gdb", guest.gdb_address), ("--qmp", guest.qmp_address)
        addresses = {"stub": stub, "monitor": monitor, "both": stub + monitor}[way]
        checks = json.loads(gprof("doctor", *addresses, "--json").stdout)["checks"]
    told = [check["seen"] for check in checks if check["name"] == "stops"]
    wanted = "Every stop also waits for its disks and flushes what was written (kept)"
    assert told == ([] if way == "monitor" else [wanted])
