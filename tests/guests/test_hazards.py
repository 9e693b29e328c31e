"""What stops do besides, by what a real QEMU says of its disks and devices."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gprof.guest.demo import DemoGuest
from tests.command_line import gprof
from tests.waiting import needed, wait_until


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
def test_doctor_names_what_every_stop_does_besides(way: str) -> None:
    with GuestWithDisks() as guest:
        stub, monitor = ("--gdb", guest.gdb_address), ("--qmp", guest.qmp_address)
        addresses = {"stub": stub, "monitor": monitor, "both": stub + monitor}[way]
        checks = json.loads(gprof("doctor", *addresses, "--json").stdout)["checks"]
    told = [check["seen"] for check in checks if check["name"] == "stops"]
    if way == "monitor":
        assert told == []
        return
    (said,) = told
    assert said.startswith("Every stop also has virtio devices give up their eventfds ")
    # The disks are none of the options that name a device; the tree of devices has them.
    named = "virtio-blk-pci, virtio-net-pci" if way == "both" else "virtio-net-pci"
    assert f"({named}), waits for its disks and flushes what was written (kept)" in said


class GuestWithBackend(DemoGuest):
    """The demo guest with a disk whose requests another process serves from its memory."""

    def __init__(self, backend: Path) -> None:
        super().__init__()
        self.backend = backend

    def extra_arguments(self) -> Sequence[str]:
        return (
            *("-object", "memory-backend-memfd,id=ram,size=16M,share=on"),
            *("-machine", "memory-backend=ram", "-chardev", f"socket,id=b,path={self.backend}"),
            *("-device", "vhost-user-blk-pci,chardev=b,num-queues=1"),
        )


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Path]:
    """The socket of a process that serves a disk (vhost-user)."""
    program = shutil.which("qemu-storage-daemon")
    if program is None:
        pytest.skip("qemu-storage-daemon is not installed (apt-get install qemu-system-common)")
    disk, listening = tmp_path / "disk", tmp_path / "backend"
    disk.write_bytes(bytes(1 << 16))
    export = f"vhost-user-blk,id=e,node-name=d,addr.type=unix,addr.path={listening},writable=on"
    with subprocess.Popen(
        [program, "--blockdev", f"driver=file,node-name=d,filename={disk}", "--export", export]
    ) as serving:
        try:
            with needed(serving):
                wait_until(listening.exists, "the socket of qemu-storage-daemon")
            yield listening
        finally:
            serving.terminate()


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", ["stub", "both"])
def test_doctor_names_the_backend_that_every_stop_restarts(backend: Path, way: str) -> None:
    with GuestWithBackend(backend) as guest:
        addresses = ["--gdb", guest.gdb_address]
        if way == "both":
            addresses += ["--qmp", guest.qmp_address]
        checks = json.loads(gprof("doctor", *addresses, "--json").stdout)["checks"]
    told = [check["seen"] for check in checks if check["name"] == "stops"]
    assert told == ["Every stop also stops and starts the backend of vhost-user-blk"]
