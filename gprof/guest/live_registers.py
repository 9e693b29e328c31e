"""The registers of vcpus that run on: as the monitor prints them, or as QEMU has them in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from gprof.guest.emulated_vcpus import EmulatedVcpus
from gprof.guest.monitor import Monitor
from gprof.guest.monitor_registers import Reading, readings, x86_64
from gprof.guest.process_memory import ProcessMemory
from symbols.memory import MemoryFault
from symbols.paging import PagedMemory

_ALL = "info registers -a"
#: Seconds until their place in memory is looked for: the first samples are to come at once.
_FIRST_SEARCH = 0.3
#: Seconds until it is looked for again: at first, and at most.
_SEARCH_AGAIN, _SEARCH_SELDOM = 1.0, 64.0
#: How often what is read there is compared with what the monitor says.
_COMPARE_EVERY = 10.0
#: `hlt`, which leaves the pc behind itself (helper_hlt in target/i386 of QEMU).
_HLT = b"\xf4"
_MOST_KNOWN = 4096


class LiveRegisters:
    """Reads the registers of all vcpus, without stopping any.

    Args:
        monitor: of the guest.
        architecture: of its vcpus, by the kernel's name.
        own: the memory of QEMU where it may be read, and where the vcpus are emulated; else None.

    Attributes:
        place_known: they are read out of QEMU's memory, by now.
    """

    def __init__(self, monitor: Monitor, architecture: str, own: ProcessMemory | None) -> None:
        self._monitor = monitor
        self._architecture = architecture
        self._own = own if architecture == "x86_64" else None
        self._vcpus: EmulatedVcpus | None = None
        self._due = -1.0
        self._patience = _SEARCH_AGAIN
        self._behind_halt: dict[int, bool] = {}
        self._last: dict[int, Reading] = {}
        self._last_ns = -1
        self._turn = threading.RLock()  # a screen asks while the sampler samples

    @property
    def place_known(self) -> bool:
        return self._vcpus is not None

    def read(self) -> Mapping[int, Reading]:
        """The registers of each vcpu now, by its index.

        Raises:
            TargetError: QEMU ended, or answers nonsense.
        """
        with self._turn:
            if self._own is not None:
                self._look_after(self._own)
            found = self._vcpus.read() if self._vcpus is not None else {}
            if self._vcpus is not None and not found:
                self._vcpus = None  # its process has gone, or is going: the monitor knows
            self._last = {vcpu: self._told(read) for vcpu, read in found.items()} or self.ask()
            self._last_ns = time.monotonic_ns()
            return self._last

    def ask(self) -> dict[int, Reading]:
        """What the monitor says of them now.

        Raises:
            TargetError: see `read`.
        """
        return readings(self._monitor.human_monitor(_ALL), self._architecture)

    def recent(self, age_s: float) -> Mapping[int, Reading]:
        """Those that were read last, or new ones where that is longer ago.

        Raises:
            TargetError: see `read`.
        """
        with self._turn:
            if self._last_ns < 0 or time.monotonic_ns() - self._last_ns > age_s * 1e9:
                return self.read()
            return self._last

    def forget(self) -> None:
        """Believe nothing of the guest's code: it was reset."""
        self._behind_halt.clear()

    def _look_after(self, own: ProcessMemory) -> None:
        """Find the place in memory, or see whether it still is the one."""
        now = time.monotonic()
        if self._due < 0:
            self._due = now + _FIRST_SEARCH
        if now < self._due:
            return
        self._behind_halt.clear()
        if self._vcpus is not None and not self._vcpus.agrees(self.ask):
            self._vcpus = None
        if self._vcpus is None:
            self._vcpus = EmulatedVcpus.find(own, self.ask)
        if self._vcpus is not None:
            self._due, self._patience = time.monotonic() + _COMPARE_EVERY, _SEARCH_AGAIN
        else:
            self._due = time.monotonic() + self._patience
            self._patience = min(2 * self._patience, _SEARCH_SELDOM)

    def _told(self, read: Reading) -> Reading:
        """The registers in memory with what they lack: whether the vcpu is halted."""
        halted = self._halted
        return lambda name: halted(read) if name == "halted" else read(name)

    def _halted(self, read: Reading) -> int:
        """Whether it stands behind `hlt`; whatever wakes it leads elsewhere."""
        pc, base = read("pc") or 0, read("code base") or 0
        if read("level"):
            return 0  # hlt is a privileged instruction
        if pc not in self._behind_halt:
            if len(self._behind_halt) >= _MOST_KNOWN:
                self._behind_halt.clear()
            assert self._own is not None
            try:
                before = PagedMemory(self._own, *x86_64.tables(read)).read(base + pc - 1, 1)
            except MemoryFault:
                return 0
            self._behind_halt[pc] = before == _HLT
        return self._behind_halt[pc]
