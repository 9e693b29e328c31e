"""The threads of the host that run a guest's vcpus, and how long they had a processor.

A vcpu that the host has put aside stands at the pc where it was interrupted, and is sampled there
like one that runs. How long its thread waited for a processor, ready to run, is the guest's steal
time; the kernel counts it for every thread (Documentation/scheduler/sched-stats.rst,
`/proc/<pid>/task/<tid>/schedstat`: nanoseconds on a processor, nanoseconds ready to run and
waiting for one, number of times it was given one).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from gprof.guest.local import is_qemu

if TYPE_CHECKING:  # it brings sockets, and every profile has a `VcpuTime`
    from gprof.guest.address import Address

#: `* CPU #0: thread_id=4711` (QEMU: hmp_info_cpus in hw/core/machine-hmp-cmds.c)
_THREAD = re.compile(r"CPU #([0-9]{1,5}):.*?thread_id=([0-9]{1,10})")
_PROCESS = re.compile(r"^Tgid:\s+([0-9]+)$", re.MULTILINE)
_LOOPBACK = {"", "localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class VcpuTime:
    """What the host gave a vcpu's thread.

    Attributes:
        ran_ns: on a processor.
        waited_ns: ready to run, and none was free: the guest's steal time.
    """

    ran_ns: int
    waited_ns: int

    def since(self, before: VcpuTime) -> VcpuTime:
        """What has been added; the counters of a thread never fall."""
        return VcpuTime(
            max(0, self.ran_ns - before.ran_ns), max(0, self.waited_ns - before.waited_ns)
        )

    @property
    def share(self) -> float:
        """Of the time that it could have run, the share in which it did; 1 where it slept."""
        ready = self.ran_ns + self.waited_ns
        return self.ran_ns / ready if ready else 1.0


class VcpuThreads:
    """Reads the counters of the vcpus' threads, a few microseconds each.

    Args:
        paths: the file with the counters of each vcpu's thread, by vcpu; those that cannot be
            opened are left out.

        process: whose threads they are; 0 where none is known.

    Attributes:
        vcpus: whose counters can be read.
        process: its id.
    """

    def __init__(self, paths: Mapping[int, Path], process: int = 0) -> None:
        self.process = process
        self._files: dict[int, int] = {}
        for vcpu, path in paths.items():
            with contextlib.suppress(OSError):
                self._files[vcpu] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @classmethod
    def of_process(
        cls, process: int, threads: Mapping[int, int], root: Path = Path("/proc")
    ) -> Self:
        """Of a QEMU whose process is known.

        Args:
            process: its id.
            threads: ids of its threads, by vcpu.
            root: where the processes are.
        """
        tasks = root / str(process) / "task"
        return cls(
            {vcpu: tasks / str(thread) / "schedstat" for vcpu, thread in threads.items()}, process
        )

    @classmethod
    def of_stub(cls, said: str, address: Address, root: Path = Path("/proc")) -> Self:
        """Of a QEMU that is known by its stub alone.

        Args:
            said: what its monitor prints of its vcpus (`info cpus`).
            address: of the stub: one on another host has threads of the same numbers.
            root: where the processes are.
        """
        threads = {int(vcpu): int(thread) for vcpu, thread in _THREAD.findall(said)}
        if not threads or (not address.path and address.host not in _LOOPBACK):
            return cls({})
        process = _process_of(threads.values(), root)
        return cls.of_process(process, threads, root) if process else cls({})

    @property
    def vcpus(self) -> frozenset[int]:
        """Whose counters can be read."""
        return frozenset(self._files)

    def only(self, vcpus: Iterable[int] | None) -> Self:
        """Let go of all but these vcpus; None keeps all."""
        for vcpu in set(self._files) - set(self._files if vcpus is None else vcpus):
            os.close(self._files.pop(vcpu))
        return self

    def read(self) -> dict[int, VcpuTime]:
        """The counters now, by vcpu; without those of threads that have ended."""
        found = {}
        for vcpu, file in self._files.items():
            if (time := time_of(file)) is not None:
                found[vcpu] = time
        return found

    def close(self) -> None:
        """Let go of the files. May be called again."""
        files, self._files = self._files, {}
        for file in files.values():
            os.close(file)


def time_of(file: int) -> VcpuTime | None:
    """What a thread was given, by its open `schedstat`; None where that has ended."""
    try:
        ran, waited, *_ = os.pread(file, 128, 0).split()
        return VcpuTime(int(ran), int(waited))
    except (OSError, ValueError):
        return None


def _process_of(threads: Iterable[int], root: Path) -> int:
    """The one QEMU that has all these threads; 0 where there is none."""
    processes = set()
    for thread in threads:
        try:
            found = _PROCESS.search((root / str(thread) / "status").read_text("utf-8", "replace"))
        except OSError:
            return 0
        processes.add(int(found[1]) if found else 0)
    (process,) = processes if len(processes) == 1 else (0,)
    return process if process and is_qemu(root / str(process)) else 0
