"""The guest's RAM, read out of the memory of the QEMU process that holds it.

A read costs a microsecond and the guest nothing, where the stub's packets stop it for each. QEMU
itself says which physical addresses are RAM (`info mtree -f`) and where it keeps them
(`gpa2hva`); the kernel says whether we may read there (proc(5), /proc/PID/mem: the rights of
ptrace). A guest that runs may change what is read at any time.
"""

from __future__ import annotations

import bisect
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from gprof.errors import PermissionProblem, TargetError
from gprof.guest.monitor import Monitor
from symbols.memory import MemoryFault

_MOST_RANGES = 4096
#: `  0000000000100000-0000000000ffffff (prio 0, ram): pc.ram @0000000000100000`
_RANGE = re.compile(
    r"^\s+([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?[0-9]+, (?:ram|rom|romd|nv-ram)\)",
    re.MULTILINE,
)
_HOST_ADDRESS = re.compile(r"Host virtual address for 0x[0-9a-f]+ .* is 0x([0-9a-f]{1,16})\s*$")

#: `55f0c1a2b000-55f0c3d4e000 rw-p 00000000 00:00 0      [heap]` (proc(5), /proc/PID/maps)
_HEAP = re.compile(r"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) rw-p .*\[heap\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RamRange:
    """A piece of RAM.

    Attributes:
        start: guest physical address.
        end: the address behind its last byte.
        host: where it begins in QEMU's address space; None until asked.
    """

    start: int
    end: int
    host: int | None = None


def ram_ranges(text: str) -> list[RamRange]:
    """The RAM and ROM of the flat view of `memory` in what `info mtree -f` prints, ordered."""
    for view in text.split("FlatView #"):
        if 'AS "memory"' not in view:
            continue
        found = sorted((int(m[1], 16), int(m[2], 16) + 1) for m in _RANGE.finditer(view))
        ranges: list[RamRange] = []
        for start, end in found[:_MOST_RANGES]:
            if start < end and (not ranges or ranges[-1].end <= start):
                ranges.append(RamRange(start, end))
        return ranges
    return []


class ProcessMemory:
    """Guest physical memory; see the module. Reads may come from any thread.

    Attributes:
        pid: of QEMU.
    """

    def __init__(self, monitor: Monitor, pid: int, descriptor: int) -> None:
        self.pid = pid
        self._monitor = monitor
        self._descriptor = descriptor
        self.refresh()

    @classmethod
    def open(cls, monitor: Monitor) -> Self:
        """Open the memory of the QEMU that the monitor belongs to.

        Raises:
            TargetError: it is not a process of this host that we can find.
            PermissionProblem: we may not read its memory.
        """
        peer = monitor.peer()
        pid = peer[0] if peer else 0
        if not pid or not _runs_vcpus(monitor, pid):
            raise TargetError(
                "the process of this QEMU is not to be seen from here",
                "Its memory can be read where gprof runs on the same host and the monitor is a "
                "unix socket that QEMU made.",
            )
        try:
            descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise PermissionProblem(
                f"the memory of QEMU (process {pid}) may not be read",
                "Run gprof as the user that runs QEMU with kernel.yama.ptrace_scope=0, with "
                "CAP_SYS_PTRACE, or with sudo.",
            ) from None
        except OSError as error:
            raise TargetError(
                f"the memory of QEMU (process {pid}) cannot be opened: {error.strerror}"
            ) from None
        try:
            memory = cls(monitor, pid, descriptor)
            memory.prove()
        except BaseException:
            os.close(descriptor)
            raise
        return memory

    def refresh(self) -> None:
        """Learn the ranges again: firmware and hotplug move them.

        Raises:
            TargetError: QEMU has gone.
        """
        self._ranges = ram_ranges(self._monitor.human_monitor("info mtree -f"))
        self._starts = [one.start for one in self._ranges]

    def prove(self) -> None:
        """Read one byte, since what may be opened need not be readable.

        Raises:
            TargetError: nothing can be read.
        """
        for one in self._ranges:
            try:
                self.read(one.start, 1)
            except MemoryFault:
                continue
            return
        raise TargetError(f"the RAM of the guest is not found in QEMU's memory ({self.pid})")

    def read(self, address: int, size: int) -> bytes:
        """Exactly `size` bytes at a physical address; see `symbols.memory.Memory`.

        Raises:
            MemoryFault: they are not all RAM, or QEMU has gone.
        """
        found = bytearray()
        while len(found) < size:
            at = address + len(found)
            number = bisect.bisect_right(self._starts, at) - 1
            if number < 0 or at >= self._ranges[number].end:
                raise MemoryFault(address, size)
            length = min(size - len(found), self._ranges[number].end - at)
            data = self._read_host(number, at, length)
            if len(data) != length:
                raise MemoryFault(address, size)
            found += data
        return bytes(found)

    def read_own(self, address: int, size: int) -> bytes:
        """Up to `size` bytes at an address of QEMU's own; b"" where nothing is, or it has gone."""
        try:
            return os.pread(self._descriptor, size, address)
        except (OSError, OverflowError):
            return b""

    def heap(self) -> list[tuple[int, int]]:
        """Where QEMU's heap begins and ends; the guest's RAM is mapped elsewhere."""
        try:
            maps = Path(f"/proc/{self.pid}/maps").read_text("utf-8", "replace")
        except OSError:
            return []
        return [(int(found[1], 16), int(found[2], 16)) for found in _HEAP.finditer(maps)]

    def _read_host(self, number: int, at: int, length: int) -> bytes:
        one = self._ranges[number]
        if one.host is None:
            one = self._ranges[number] = replace(one, host=self._host_address(one.start))
        if not one.host:
            return b""
        return self.read_own(one.host + at - one.start, length)

    def _host_address(self, address: int) -> int:
        """Where QEMU keeps a physical address; 0 where it does not say."""
        try:
            said = self._monitor.human_monitor(f"gpa2hva {address:#x}")
        except TargetError:
            return 0
        found = _HOST_ADDRESS.search(said)
        return int(found[1], 16) if found else 0

    def close(self) -> None:
        """Let go of the process. May be called again."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def _runs_vcpus(monitor: Monitor, pid: int) -> bool:
    """Whether a process has the threads that QEMU names as its vcpus.

    The maker of a socket may have handed it on, as libvirt does.
    """
    vcpus = monitor.execute("query-cpus-fast")
    threads = [one.get("thread-id") for one in vcpus if isinstance(one, dict)]
    return bool(threads) and all(Path(f"/proc/{pid}/task/{thread}").exists() for thread in threads)
