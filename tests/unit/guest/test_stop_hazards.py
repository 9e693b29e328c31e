"""What stops do to a guest besides halting it, by what QEMU prints and was started with."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gprof.guest.stop_hazards import flushed_disks, hazards, hazards_of
from gprof.guest.vcpu_threads import VcpuThreads

#: As QEMU 7.2 prints it for a plain disk, one with cache=unsafe, a read-only one, an empty drive.
BLOCK = """d0 (#block168): a.img (raw)
    Attached to:      /machine/peripheral-anon/device[1]/virtio-backend
    Cache mode:       writeback
ide0-hd0 (#block391): b.img (raw)
    Attached to:      /machine/unattached/device[18]
    Cache mode:       writeback, ignore flushes
virtio1 (#block543): c.img (raw, read-only)
    Attached to:      /machine/peripheral-anon/device[2]/virtio-backend
    Cache mode:       writeback, ignore flushes
virtio2: e:f.img (raw)
    Cache mode:       writethrough
cd: [not inserted]
    Attached to:      /machine/unattached/device[19]
    Removable device: not locked, tray closed
"""
TREE = 'bus: pci.0\n  dev: vfio-pci, id "gpu"\n    host = "0000:01:00.0"\n  dev: virtio-net-pci\n'


def test_disks_that_are_written_are_flushed() -> None:
    assert flushed_disks(BLOCK) == ["d0", "virtio2"]
    assert flushed_disks("") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-netdev tap,id=n,vhost=on -device virtio-net-pci,netdev=n", "vhost-net"),
        ("-device virtio-net-pci,netdev=n", "eventfds and make new ones"),
        ("-device virtio-blk-ccw,drive=d", "(virtio-blk-ccw)"),
        ("-device virtio-net-pci,netdev=n,ioeventfd=off", ""),
        ("""-device {"driver":"virtio-net-pci","ioeventfd":false}""", ""),
        ("""-netdev {"type":"tap","fd":"33","vhost":true,"vhostfd":"35","id":"n"}""", "vhost-net"),
        ("-netdev tap,fd=1,id=n,vhost=on,vhostfd=35", "vhost-net"),
        ("""-device {"driver":"vfio-pci","host":"0000:01:00.0"}""", "of the host (vfio-pci)"),
        ("-device vhost-vsock-pci,guest-cid=3", "backend of vhost-vsock"),
        ("-device vhost-user-blk-pci-non-transitional,chardev=c", "backend of vhost-user-blk"),
        ("-netdev vhost-user,id=n,chardev=c", "backend of vhost-user"),
        ("-netdev tap,id=n,vhost=off", ""),
        ("-netdev user,id=n", ""),
    ],
)
def test_devices_outside_of_qemu(line: str, said: str) -> None:
    found = "; ".join(hazards("", line.split()))
    assert re.search(re.escape(said) + r"(?![\w-])", found)
    assert bool(found) is bool(said)


def test_what_was_plugged_in_later_is_in_the_tree_of_devices() -> None:
    first, second = hazards(BLOCK, ["qemu"], TREE)
    assert "vfio-pci" in first
    assert "d0, virtio2" in second
    assert hazards(BLOCK) == [second]


#: As QEMU 7.2 prints it, without most properties.
VIRTIO = """bus: main-system-bus
  dev: virtio-serial-pci, id ""
    ioeventfd = false
    bus: virtio-bus
      dev: virtio-serial-device, id ""
        max_ports = 31 (0x1f)
  dev: virtio-blk-pci, id "d"
    class = 0 (0x0)
    ioeventfd = true
    bus: virtio-bus
      dev: virtio-blk-device, id ""
        ioeventfd = "no such thing"
"""


def test_virtio_devices_with_eventfds_are_in_the_tree_of_devices() -> None:
    (said,) = hazards("", ["-device", "virtio-net-pci"], VIRTIO)
    assert said.startswith("has virtio devices give up their eventfds ")
    assert said.endswith("(virtio-blk-pci)")
    assert hazards("", [], VIRTIO.replace("= true", "= false")) == []


def test_a_guest_is_asked_and_its_command_line_read() -> None:
    class Guest:
        def monitor(self, command: str) -> str:
            return {"info block": BLOCK}[command]

        def threads(self) -> VcpuThreads:
            return VcpuThreads({}, os.getpid())

    said = hazards_of(Guest(), TREE)
    assert said.startswith("Every stop also changes the state of devices of the host (vfio-pci), ")
    assert said.endswith("flushes what was written (d0, virtio2).")


def test_names_are_made_harmless_and_few() -> None:
    text = "".join(f"d\x1b[31m{i} (#block1): a (raw)\n" for i in range(9))
    (said,) = hazards(text)
    assert "\x1b" not in said
    assert said.endswith(", ...)")


@given(st.text(), st.lists(st.text()))
def test_any_text_is_understood_or_passed_over(text: str, words: list[str]) -> None:
    assert all(isinstance(one, str) for one in hazards(text, words, text))
