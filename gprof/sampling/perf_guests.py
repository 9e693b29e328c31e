"""Which guests a recording of perf holds, told apart by the processes and threads of the host.

A guest's sample carries the pid of its hypervisor and the tid of the vcpu's thread. Source:
machines__find_for_cpumode in tools/perf/util/session.c, and the guest maps that
perf_event__synthesize_guest_os writes (synthetic-events.c), Linux 6.12.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata import CpuMode, Mapping, PerfData, Samples
from gprof.sampling.numbering import Numbering
from gprof.sampling.source import UInt16s
from symbols.names import printable

#: The pid that stands for the host itself.
HOST = -1
#: More guests than the column of guests can number are counted as this one.
_LAST = np.iinfo(np.uint16).max

_VCPU_NAME = re.compile(rb"CPU (\d{1,5})/[A-Z]+$")
_KERNEL_MAP = re.compile(rb"\[(?:guest\.)?kernel\.kallsyms(?:\.\d+)?\](\w*)$")
_MODULE_FILE = re.compile(r"([^/]+?)\.ko(?:\.(?:gz|xz|zst))?$")


@dataclass(frozen=True, slots=True)
class KernelReference:
    """Where the guest's kernel ran when it was recorded, by one symbol.

    Attributes:
        symbol: `_text` or `_stext`.
        address: of that symbol in the guest.
        start: first address of the kernel's text.
        end: the address after its last.
    """

    symbol: str
    address: int
    start: int
    end: int

    def slide(self, link_address: int) -> int:
        """Runtime minus link-time address, given the symbol's address in other symbols."""
        return self.address - link_address


@dataclass(frozen=True, slots=True)
class GuestModule:
    """A module that the guest had loaded when it was recorded.

    Attributes:
        name: safe to show.
        start: first address.
        size: in bytes.
    """

    name: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class PerfGuest:
    """One guest of a recording, or the host.

    Attributes:
        id: its number in the `guest` column.
        pid: of its hypervisor; `HOST` for the host.
        name: what people call it; safe to show.
        vcpus: the indices of its vcpus that were sampled.
        reference: where its kernel ran; None where nothing was told when it was recorded.
        modules: what it had loaded, as told when it was recorded.
        build_id: of its kernel; empty where unknown.
    """

    id: int
    pid: int
    name: str
    vcpus: tuple[int, ...] = ()
    reference: KernelReference | None = None
    modules: tuple[GuestModule, ...] = ()
    build_id: bytes = b""

    @property
    def is_host(self) -> bool:
        """These are samples of the host itself."""
        return self.pid == HOST


class _Vcpus:
    """The vcpus of one guest by thread, numbered by what tells the number, else in order."""

    def __init__(self) -> None:
        self.numbers: set[int] = set()
        self.guessed = False
        self._by_thread: dict[int, int] = {}
        self._next = 0

    def of(self, tid: int, told: int | None) -> int:
        found = self._by_thread.get(tid)
        if told is not None:
            found = min(told, _LAST)
        elif found is None:
            while self._next in self.numbers and self._next < _LAST:
                self._next += 1
            found = self._next
            self.guessed = True
        self._by_thread[tid] = found
        self.numbers.add(found)
        return found


class PerfGuests:
    """Numbers guests and vcpus as their samples come.

    Args:
        perf: the recording that is being read.
        arguments_of: the command line of a process of the host, where it can be asked.
    """

    def __init__(
        self, perf: PerfData, arguments_of: Callable[[int], Sequence[bytes]] | None = None
    ) -> None:
        self._perf = perf
        self._arguments_of = arguments_of
        self._ids: dict[int, int] = {}
        self._vcpus: dict[int, _Vcpus] = {}
        self._alike = Numbering()  # of whatever tells a guest and a vcpu

    @property
    def guessed_vcpus(self) -> bool:
        """Some vcpus are numbered by the order of their threads, for nothing told their number."""
        return any(vcpus.guessed for vcpus in self._vcpus.values())

    def number(
        self, samples: Samples, told: NDArray[np.int64] | None = None
    ) -> tuple[UInt16s, UInt16s]:
        """Guest and vcpu of each sample of a guest.

        Args:
            samples: of guests.
            told: the vcpu of each where a tracepoint tells it.
        """
        named = {number: one for number, one in self._perf.origins.items() if one.machine_pid}
        numbers, _ = self._alike.number(samples.thread)
        for column in (samples.id if named else None, told):
            if column is not None:
                apart = column.astype(np.uint64) & np.uint64(0xFFFFFFFF)
                numbers, _ = self._alike.number(numbers.astype(np.uint64) << np.uint64(32) | apart)
        # There are few distinct ones, however many samples.
        example = np.full(len(self._alike), -1)
        example[numbers] = np.arange(len(numbers))
        present = np.flatnonzero(example >= 0)
        here = example[present]
        some = samples.take(here)
        all_told = np.full(len(here), -1) if told is None else told[here]
        rows = []
        columns = (some.pid, some.tid, some.id, all_told, present)
        for pid, tid, counter, vcpu, number in zip(*(c.tolist() for c in columns), strict=True):
            one = named.get(counter)
            rows.append((one.machine_pid if one else pid, tid, one.vcpu if one else vcpu, number))
        guests, vcpus = np.zeros(len(example), np.uint16), np.zeros(len(example), np.uint16)
        # In the order of pids and threads, so that numbers given by order come out alike.
        for pid, tid, vcpu, number in sorted(rows):
            guests[number], vcpus[number] = self._number(pid, tid, vcpu if vcpu >= 0 else None)
        return guests[numbers], vcpus[numbers]

    def host(self) -> int:
        """The number that stands for the host."""
        return self._id(HOST)

    def known(self) -> tuple[PerfGuest, ...]:
        """Every guest met so far, by number."""
        return tuple(self._guest(pid, number) for pid, number in list(self._ids.items()))

    def _number(self, pid: int, tid: int, told: int | None) -> tuple[int, int]:
        number = self._id(pid)
        if told is None:
            thread = self._perf.threads.get(tid)
            named = _VCPU_NAME.match(thread.name) if thread else None
            told = int(named[1]) if named else None
        return number, self._vcpus.setdefault(pid, _Vcpus()).of(tid, told)

    def _id(self, pid: int) -> int:
        return self._ids.setdefault(pid, min(len(self._ids), _LAST))

    def _guest(self, pid: int, number: int) -> PerfGuest:
        if pid == HOST:
            return PerfGuest(number, pid, "host")
        maps = self._maps(pid)
        reference, modules = None, []
        for mapping in maps:
            kernel = _KERNEL_MAP.match(mapping.filename)
            if kernel:
                reference = KernelReference(
                    printable(kernel[1]), mapping.offset, mapping.start,
                    mapping.start + mapping.length,
                )  # fmt: skip
            else:
                name = _module_name(mapping.filename)
                modules.append(GuestModule(name, mapping.start, mapping.length))
        vcpus = self._vcpus.get(pid, _Vcpus()).numbers.copy()
        return PerfGuest(
            number, pid, self._name(pid), tuple(sorted(vcpus)), reference, tuple(modules),
            self._build_id(pid),
        )  # fmt: skip

    def _maps(self, pid: int) -> list[Mapping]:
        """The maps of a guest's kernel and modules.

        Maps of pid 0 are of the one guest whose symbols were given when recording; with several
        guests nobody knows of which, so they count for none.
        """
        maps = [m for m in self._perf.mappings if m.of_guest]
        own = [m for m in maps if m.pid == pid]
        guests = self._guest_pids()
        return own or ([m for m in maps if m.pid == 0] if len(guests) == 1 else [])

    def _guest_pids(self) -> list[int]:
        """Who was met so far; another thread may be meeting more."""
        return [pid for pid in list(self._ids) if pid != HOST]

    def _build_id(self, pid: int) -> bytes:
        """Of the guest's kernel. Those of pid 0 are not asked: perf writes the host's there."""
        for known in self._perf.build_ids:
            of_guest = known.misc & 7 == CpuMode.GUEST_KERNEL
            if of_guest and known.pid == pid and pid and _KERNEL_MAP.match(known.filename):
                return known.id
        return b""

    def _name(self, pid: int) -> str:
        if self._arguments_of is not None:
            name = hypervisor_name(self._arguments_of(pid))
            if name:
                return name
        if len(self._guest_pids()) == 1:
            # perf may itself have started the hypervisor: its command line ends with that one.
            name = hypervisor_name(self._perf.command_line)
            if name:
                return name
        main = self._perf.threads.get(pid)
        if main and main.name and not main.name.startswith((b"qemu", b"kvm", b"CPU ")):
            return printable(main.name)
        return f"pid {pid}"


def hypervisor_name(arguments: Sequence[bytes]) -> str:
    """The guest's name on QEMU's command line (`-name NAME`, `-name guest=NAME,…`), or nothing."""
    for option, value in itertools.pairwise(arguments):
        if option in {b"-name", b"--name"}:
            first, _, _ = value.partition(b",")
            options = dict(part.partition(b"=")[::2] for part in value.split(b",") if b"=" in part)
            return printable(options.get(b"guest") or (b"" if b"=" in first else first))
    return ""


def _module_name(filename: bytes) -> str:
    """`[ext4]` and `/lib/modules/…/ext4.ko` are one module."""
    text = printable(filename)
    file = _MODULE_FILE.search(text)
    return file[1].replace("-", "_") if file else text.strip("[]")
