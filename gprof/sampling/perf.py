"""Guest samples of perf: out of a file, a stream, or a perf that is running.

A sample taken while a guest ran is an ordinary one of cpumode 4 or 5 with the guest's address.
The mode says kernel or user, but many kernels read it from a byte that is out of date
(kvm_arch_vcpu_in_kernel before the vcpu's state is loaded): where the address lies in the other
half, the address is right. Source: perf_misc_flags in arch/x86/events/core.c, Linux 6.12.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from gprof.errors import UsageError
from gprof.perfdata import (
    Attribute,
    CpuMode,
    Event,
    EventType,
    Feature,
    Flag,
    PerfData,
    Samples,
)
from gprof.sampling.exit_events import exit_pcs
from gprof.sampling.interruptible import InterruptiblePipe, pipe_of
from gprof.sampling.perf_guests import PerfGuest, PerfGuests
from gprof.sampling.source import (
    Int64s,
    Mode,
    SampleBatch,
    SourceFacts,
    UInt8s,
    UInt16s,
    UInt32s,
)
from symbols.names import printable

#: Architectures whose kernel lives in the upper half of all addresses, by `uname -m`.
_SPLIT = frozenset({"x86_64", "amd64", "aarch64", "arm64", "riscv64", "loongarch64"})
#: Software events that count time itself: each of their samples stands for as much as another.
_CLOCKS = frozenset({0, 1})
#: By the three bits of a cpumode.
_MODES = np.zeros(8, np.uint8)
_MODES[CpuMode.KERNEL] = _MODES[CpuMode.GUEST_KERNEL] = Mode.KERNEL
_MODES[CpuMode.USER] = _MODES[CpuMode.GUEST_USER] = Mode.USER
_MODES[CpuMode.HYPERVISOR] = Mode.HYPERVISOR
#: By the highest bit of an address.
_HALVES = np.array([Mode.USER, Mode.KERNEL], np.uint8)


class PerfFile:
    """The guest samples of one recording, as a `Source`.

    Args:
        target: a path; `-` for standard input; or an open binary file, which is closed at the end.
        event: the name of the event whose samples to take, with or without its modifiers; the
            first that sampled a guest where empty.
        host: take the host's own samples too, as those of a guest of their own.
        exits: take no samples, but the guest's pc at every VM exit that was recorded. It shows
            what leaves the guest, not where time goes.
        name: what to call the target; the path where empty.
        arguments_of: the command line of a process of the host, for a perf that runs here.

    Raises:
        PerfDataError: the target is no perf.data.
    """

    def __init__(
        self,
        target: str | Path | BinaryIO,
        *,
        event: str = "",
        host: bool = False,
        exits: bool = False,
        name: str = "",
        arguments_of: Callable[[int], Sequence[bytes]] | None = None,
    ) -> None:
        self._pipe: InterruptiblePipe | None = None
        if target == "-":
            name = name or "standard input"
            target = sys.stdin.buffer
        if isinstance(target, (str, Path)):
            self._target = name or str(target)
            self._perf = PerfData.open(target)
        else:
            self._target = name or str(getattr(target, "name", "a stream"))
            self._pipe = pipe_of(target)
            self._perf = PerfData.from_file(cast("BinaryIO", self._pipe or target))
        self._wanted, self._host, self._exits = event, host, exits
        self._chosen: int | None = None
        self._guests = PerfGuests(self._perf, arguments_of)
        self._closed = False
        self._taken = self._host_samples = self._corrected = self._of_others = 0
        self._first = self._last = 0

    @property
    def data(self) -> PerfData:
        """The recording itself."""
        return self._perf

    def guests(self) -> tuple[PerfGuest, ...]:
        """Every guest met so far, by number."""
        return self._guests.known()

    @property
    def architecture(self) -> str:
        """Of the host, which is the guests' too; empty where the recording does not tell."""
        return printable(self._perf.text(Feature.ARCH))

    def batches(self) -> Iterator[SampleBatch]:
        """Batches as they are read; see `Source.batches`.

        Raises:
            UsageError: no event has the name that was asked for.
        """
        try:
            for chunk in self._perf.chunks():
                if self._closed:
                    return
                found = [self._batch(samples) for samples in chunk]
                yield _joined([batch for batch in found if batch])
            if self._wanted and self._chosen is None:
                self._choose()
        finally:
            self._perf.close()

    def facts(self) -> SourceFacts:
        """What is known now; see `Source.facts`."""
        vcpus = sum(len(guest.vcpus) for guest in self.guests() if not guest.is_host)
        covered = max(self._last - self._first, 0)
        reached = 1e9 * self._taken / covered / max(vcpus, 1) if covered else 0.0
        attribute = self._attribute()
        by_frequency = attribute is not None and attribute.by_frequency
        return SourceFacts(
            way="perf",
            target=printable(self._target),
            asked_hz=float(attribute.period) if attribute and by_frequency else 0.0,
            reached_hz=reached,
            covered_ns=covered,
            taken=self._taken,
            errors=self._perf.damaged + self._perf.unattributed,
            lost=self._perf.lost,
            notes=tuple(self._notes()),
        )

    def close(self) -> None:
        """End the iteration; see `Source.close`."""
        self._closed = True
        if self._pipe is not None:
            self._pipe.interrupt()

    # Which samples

    def _batch(self, samples: Samples) -> SampleBatch | None:
        if self._exits:
            return self._exit_batch(samples)
        attribute = samples.attribute
        if attribute.type == EventType.TRACEPOINT and not self._wanted:
            return None
        of_guest = samples.cpumode >= CpuMode.GUEST_KERNEL
        here = int(np.count_nonzero(of_guest))
        if not self._is_chosen(samples.event, here):
            self._of_others += here
            return None
        self._host_samples += len(samples) - here
        self._note_times(samples)
        self._taken += here
        parts = []
        if here:
            mine = samples.take(_by_time(samples.time, np.flatnonzero(of_guest)))
            guest, vcpu = self._guests.number(mine)
            parts.append(self._columns(mine, guest, vcpu, self._mode_of_guest(mine)))
        if self._host and here < len(samples):
            theirs = samples.take(_by_time(samples.time, np.flatnonzero(~of_guest)))
            guest = np.full(len(theirs), self._guests.host(), np.uint16)
            vcpu = theirs.cpu.astype(np.uint16)
            parts.append(self._columns(theirs, guest, vcpu, _MODES[theirs.cpumode]))
        return _joined(parts) if parts else None

    def _exit_batch(self, samples: Samples) -> SampleBatch | None:
        found = exit_pcs(self._perf, samples)
        if found is None:
            return None
        pc, told = found
        guest, vcpu = self._guests.number(samples, told)
        self._note_times(samples)
        self._taken += len(samples)
        mode = np.full(len(pc), Mode.UNKNOWN, np.uint8)
        if self._split:
            mode = _mode_by_half(pc)
        batch = SampleBatch(
            time=samples.time,
            pc=pc,
            stack=np.zeros(len(pc), np.uint32),
            task=np.zeros(len(pc), np.uint32),
            guest=guest,
            vcpu=vcpu,
            mode=mode,
            weight=np.ones(len(pc), np.uint32),
        )
        return _ordered(batch)

    @staticmethod
    def _columns(samples: Samples, guest: UInt16s, vcpu: UInt16s, mode: UInt8s) -> SampleBatch:
        none = np.zeros(len(samples), np.uint32)
        return SampleBatch(
            time=samples.time,
            pc=samples.ip,
            stack=none,
            task=none,
            guest=guest,
            vcpu=vcpu,
            mode=mode,
            weight=_weight(samples),
        )

    def _mode_of_guest(self, samples: Samples) -> UInt8s:
        told: UInt8s = _MODES[samples.cpumode]
        if not self._split:
            return told
        right = _mode_by_half(samples.ip)
        self._corrected += int(np.count_nonzero(told != right))
        return right

    @property
    def _split(self) -> bool:
        """The address tells kernel from user. A recording without its architecture is of x86."""
        return (self.architecture or "x86_64") in _SPLIT

    def _is_chosen(self, event: int, guest_samples: int) -> bool:
        if self._chosen is None:
            if self._wanted:
                self._chosen = self._choose()
            elif guest_samples:
                self._chosen = event
        # Until one event has sampled a guest, host samples of every event are counted.
        return self._chosen is None or event == self._chosen

    def _choose(self) -> int:
        events = self._perf.events
        for wanted in (self._wanted, self._wanted.split(":")[0]):
            for event in events:
                if wanted in {event.name, event.name.split(":")[0]}:
                    return event.index
        names = ", ".join(printable(event.name) for event in events) or "none"
        raise UsageError(f"{self._target} has no event {self._wanted}", f"It has these: {names}.")

    def _attribute(self) -> Attribute | None:
        events = self._perf.events
        if self._chosen is not None and self._chosen < len(events):
            return events[self._chosen].attribute
        return None

    def _note_times(self, samples: Samples) -> None:
        time = samples.time
        if len(time):
            low, high = int(time.min()), int(time.max())
            self._first = min(self._first, low) if self._first else low
            self._last = max(self._last, high)

    # What a person must know

    def _notes(self) -> Iterator[str]:
        yield from self._perf.problems
        if self._exits:
            yield (
                "these are the guest's addresses at VM exits, not samples of time: "
                "code that never leaves the guest does not appear"
            )
        if self._corrected:
            yield (
                f"perf says the wrong mode of {self._corrected} of {self._taken} guest samples; "
                "their addresses decide"
            )
        if self._host_samples and not self._host and not self._exits:
            yield f"{self._host_samples} samples of the host are kept apart; --host shows them"
        if self._of_others:
            yield f"{self._of_others} guest samples of other events are not shown; see --event"
        if self._guests.guessed_vcpus:
            yield (
                "the recording does not name the vcpus' threads; "
                "vcpus are numbered in the order of their threads"
            )
        if not self._taken and self._exits:
            yield (
                "no VM exit was recorded: no guest ran under KVM, or not with "
                "`-e kvm:kvm_entry -e kvm:kvm_exit`"
            )
        elif not self._taken:
            yield from why_no_guest_samples(self._perf.events, self._perf.text(Feature.CPUID))


def why_no_guest_samples(events: Sequence[Event], cpu: str) -> Iterator[str]:
    """Sentences on why a recording may hold no sample of a guest.

    Args:
        events: of the recording.
        cpu: its CPUID feature, such as `GenuineIntel,6,85,7`; empty where unknown.
    """
    sampling = [
        e for e in events if e.attribute.type != EventType.TRACEPOINT and "dummy" not in e.name
    ]
    if not sampling:
        yield (
            "nothing but tracepoints was recorded: take the addresses at VM exits, "
            "or record with `perf kvm --guest record -e cpu-clock -a`"
        )
        return
    if all(event.attribute.flag(Flag.EXCLUDE_GUEST) for event in sampling):
        yield (
            "the recording leaves guests out (exclude_guest): record with `perf kvm --guest record`"
        )
        return
    if any(event.attribute.type != EventType.SOFTWARE for event in sampling):
        yield (
            "no guest was sampled: a hardware counter cannot where the host has none or gives it "
            "to the guest (mediated vPMU); `-e cpu-clock` needs none"
        )
    else:
        yield (
            "no guest was sampled: none ran, or the kernel was built without "
            "CONFIG_GUEST_PERF_EVENTS; the addresses at VM exits need neither"
        )
    # The last note is the one that a screen shows: the most exact one.
    if "Intel" in cpu and any(event.attribute.precise for event in sampling):
        yield (
            "the event is precise (PEBS), which cannot sample a guest on Intel: "
            "record with `-e cycles` or `-e cpu-clock`, without :p or :P"
        )


def _mode_by_half(pc: NDArray[np.uint64]) -> UInt8s:
    half: UInt8s = _HALVES[(pc >> np.uint64(63)).view(np.int64)]
    return half


def _weight(samples: Samples) -> UInt32s:
    """The period where it tells more than the count: with a counter sampled by frequency.

    A clock's samples, and those after a fixed number of events, all stand for as much.
    """
    attribute = samples.attribute
    clock = attribute.type == EventType.SOFTWARE and attribute.config in _CLOCKS
    if clock or not attribute.by_frequency:
        return np.ones(len(samples), np.uint32)
    most = np.uint64(np.iinfo(np.uint32).max)
    return np.clip(samples.period, np.uint64(1), most).astype(np.uint32)


def _joined(parts: Sequence[SampleBatch]) -> SampleBatch:
    """All samples of several batches in the order of time, as each of these has them."""
    return parts[0] if len(parts) == 1 else _ordered(SampleBatch.concatenate(parts))


def _ordered(batch: SampleBatch) -> SampleBatch:
    return batch.select(_by_time(batch.time, np.arange(len(batch))))


def _by_time(time: Int64s, rows: Int64s) -> Int64s:
    """The rows in the order of time: perf writes each processor's samples in a row."""
    times = time[rows]
    if (times[1:] >= times[:-1]).all():
        return rows
    return rows[np.argsort(times, kind="stable")]
