"""What a stop of the machine costs a guest beyond the time in which its vcpus stand.

QEMU stops and starts the backends of virtio devices that live outside of it (vhost), has devices
of the host change their state (VFIO), and waits for disks and flushes them, at every stop
(do_vm_stop in softmmu/cpus.c, virtio_vmstate_change in hw/virtio/virtio.c of QEMU 7.2). A sample
through the stub is such a stop.

Virtio devices also give up the eventfds by which the guest wakes them, and make new ones when it
goes on (virtio_pci_vmstate_change in hw/virtio/virtio-pci.c). The guest stands meanwhile, before
QEMU reports the stop and after it has reported the continuation: `benchmarks.slowdown` shows it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from gprof.guest.local import command_line
from gprof.guest.vcpu_threads import VcpuThreads
from symbols.names import printable

#: `d0 (#block168): a.img (raw)`, where `(raw, read-only)` is one that nobody writes to.
_DISK = re.compile(r"^(?P<name>[^\s:][^:]*?)(?: \(#block[0-9]+\))?: (?P<medium>.*)$")
_UNFLUSHED = "ignore flushes"
_DEVICE = re.compile(r"\b((?:vfio|vhost)-[a-z0-9-]+)\b")
_PLUGGED = re.compile(r"^\s*dev: ((?:vfio|vhost)-[a-z0-9-]+),", re.MULTILINE)
#: `-netdev tap,…,vhost=on`, as text and as libvirt writes it.
_VHOST_NET = re.compile(r"\bvhost=(?:on|true)\b|\bvhostfds?=|\"vhost(?:fds?)?\":(?:true|\")")
#: A device on a bus is two in QEMU's tree: itself, and one of the bus that carries it.
_CARRIER = re.compile(r"-(?:pci|ccw|device)(?:-(?:non-)?transitional)?$")
#: A device in the tree, or that property of the last one, one a line.
_IN_TREE = re.compile(r"^ *(?:dev: ([a-z0-9-]+),|(ioeventfd) = true$)", re.MULTILINE)
_VIRTIO_GIVEN = re.compile(r"\b(virtio-[a-z0-9]+-(?:pci|ccw|device))\b")
_EVENTFD_OFF = re.compile(r"\bioeventfd(?:=off|\":false)")
_MOST_NAMED = 4


class Known(Protocol):
    """A guest whose monitor answers, and whose process may be seen."""

    def monitor(self, command: str) -> str:
        """The output of a command of QEMU's monitor; empty where it knows none."""
        ...

    def threads(self) -> VcpuThreads:
        """The threads of its vcpus."""
        ...


def hazards_of(guest: Known, tree: str = "") -> str:
    """What every stop of a guest does besides, as a sentence; empty where that is nothing.

    Args:
        guest: asked.
        tree: see `hazards`.
    """
    threads = guest.threads()
    threads.close()
    words = command_line(Path(f"/proc/{threads.process}")) if threads.process else []
    found = hazards(guest.monitor("info block"), words, tree)
    return f"Every stop also {', '.join(found)}." if found else ""


def hazards(disks: str, words: Sequence[str] = (), tree: str = "") -> list[str]:
    """What every stop of this guest does besides, each in a few words.

    Args:
        disks: what `info block` prints.
        words: QEMU's command line, where that can be seen.
        tree: what `info qtree` prints, which knows of devices that were plugged in later.
    """
    found = []
    devices = set(_DEVICE.findall(" ".join(words)))
    devices |= set(_PLUGGED.findall(tree))
    if any(_VHOST_NET.search(word) for word in words):
        devices.add("vhost-net")
    vfio = {device for device in devices if device.startswith("vfio")}
    if vfio:
        found.append(f"changes the state of devices of the host ({_named(vfio)})")
    vhost = {_CARRIER.sub("", device) for device in devices - vfio}
    if vhost:
        found.append(f"stops and starts the backend of {_named(vhost)}")
    eventfds = _with_eventfds(tree, " ".join(words))
    if eventfds:
        found.append(
            "has virtio devices give up their eventfds and make new ones, in time that QEMU does "
            f"not tell of and ioeventfd=off would spare ({_named(eventfds)})"
        )
    flushed = flushed_disks(disks)
    if flushed:
        found.append(f"waits for its disks and flushes what was written ({_named(flushed)})")
    return found


def _with_eventfds(tree: str, line: str) -> set[str]:
    """Virtio devices whose queues have eventfds, by the tree of devices, else as far as given."""
    if tree:
        told = _IN_TREE.findall(tree)
        return {name for (name, _), (_, eventfd) in pairwise(told) if name and eventfd}
    return set() if _EVENTFD_OFF.search(line) else set(_VIRTIO_GIVEN.findall(line))


def flushed_disks(text: str) -> list[str]:
    """The disks that a stop flushes, by what `info block` prints."""
    flushed: dict[str, bool] = {}
    name = ""
    for line in text.splitlines():
        if (head := _DISK.match(line)) is not None:
            name, medium = head["name"], head["medium"]
            flushed[name] = not medium.startswith("[not inserted]") and "read-only" not in medium
        elif name and line.lstrip().startswith("Cache mode:") and _UNFLUSHED in line:
            flushed[name] = False
    return [name for name, is_flushed in flushed.items() if is_flushed]


def _named(names: Sequence[str] | set[str]) -> str:
    shown = [printable(name) for name in sorted(names)]
    return ", ".join(shown[:_MOST_NAMED]) + (", ..." if len(shown) > _MOST_NAMED else "")
