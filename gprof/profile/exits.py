"""Measured VM exits: how long each took, of which guest and vcpu, why, and where it exited.

A measurement is a begin and the end that directly follows it on the same thread of the host, as
`perf kvm stat` pairs them: a second begin starts anew, an end without a begin counts for nothing,
and neither does anything before the thread's first entry into a guest. Source: handle_kvm_event,
handle_begin_event and handle_end_event in tools/perf/builtin-kvm.c, Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gprof.perfdata import Feature, PerfData, Samples
from gprof.profile.exit_reasons import ExitReasons
from gprof.sampling import exit_events
from gprof.sampling.exit_events import ExitColumns, ExitEvent, Role
from gprof.sampling.perf_guests import PerfGuests


@dataclass(frozen=True, slots=True)
class Exits:
    """Measured exits as columns of equal length, by the time of their end.

    Attributes:
        time: of the end, nanoseconds.
        duration: nanoseconds.
        guest: number of the guest.
        vcpu: index of the vcpu; -1 where nothing told it.
        key: what happened, for `ExitReasons`.
        detail: what the key needs to be understood.
        pc: the guest's address at the exit; 0 where it is not told.
        unpaired: begins without their end, and ends without their begin.
    """

    time: NDArray[np.int64]
    duration: NDArray[np.int64]
    guest: NDArray[np.uint16]
    vcpu: NDArray[np.int32]
    key: NDArray[np.uint64]
    detail: NDArray[np.uint64]
    pc: NDArray[np.uint64]
    unpaired: int = 0

    def __len__(self) -> int:
        return len(self.duration)

    def since(self, time: int) -> Exits:
        """Those that ended at a time or later, such as in the last interval of a live table."""
        mask = self.time >= time
        columns = ("time", "duration", "guest", "vcpu", "key", "detail", "pc")
        return replace(self, **{name: getattr(self, name)[mask] for name in columns})


class ExitReader:
    """Collects the exits of one recording while it is read.

    Args:
        perf: the recording.
        event: what to measure.
        guests: numbers the guests; shared with a source of samples where both read.
    """

    def __init__(
        self, perf: PerfData, event: ExitEvent = ExitEvent.VMEXIT, guests: PerfGuests | None = None
    ) -> None:
        self.perf = perf
        self.event = event
        self.guests = guests or PerfGuests(perf)
        self._parts: list[ExitColumns] = []
        self._sampled = False

    def read(self) -> Iterator[int]:
        """Read the recording; after each block, how many events were collected so far.

        Raises:
            UsageError: the recording's architecture has no such event.
        """
        for chunk in self.perf.chunks():
            for samples in chunk:
                self.add(samples)
            yield sum(map(len, self._parts))

    def add(self, samples: Samples) -> None:
        """Collect what is of use among some samples."""
        steps = exit_events.plan(self.architecture, self.event)
        guest: NDArray[np.uint16] | None = None
        for step, tracepoint in exit_events.steps_of(self.perf, samples, steps):
            if guest is None:
                told = exit_events.vcpu_of(samples, tracepoint).astype(np.int64)
                guest, _ = self.guests.number(samples, told)
            self._sampled |= bool((samples.period > 1).any())
            self._parts.append(exit_events.columns_of(samples, step, tracepoint, guest))

    @property
    def architecture(self) -> str:
        """Of the recording, as `uname -m` names it; x86_64 where it does not tell."""
        return exit_events.known_architecture(self.perf.text(Feature.ARCH))

    def exits(self) -> Exits:
        """What was measured in all that was read so far."""
        return pair(tuple(self._parts))  # another thread may be adding to them

    def reasons(self) -> ExitReasons:
        """The names of what happened."""
        cpu = self.perf.text(Feature.CPUID)
        return ExitReasons(self.perf, self.event, self.architecture, cpu)

    def notes(self) -> tuple[str, ...]:
        """Sentences that a person must see."""
        found = list(self.perf.problems)
        if self._sampled:
            found.append(
                "not every event was recorded (the recording samples them by frequency): "
                "counts are too small and pairs may be wrong; record with `perf kvm stat record`"
            )
        if not self._parts:
            steps = exit_events.plan(self.architecture, self.event)
            wanted = {step.tracepoint for step in steps}
            if wanted <= {event.name.split(":u")[0] for event in self.perf.events}:
                found.append("no guest ran under KVM while this was recorded")
            else:
                names = " ".join(f"-e {name}" for name in sorted(wanted))
                found.append(
                    f"the recording has no events for {self.event.value}: record with "
                    f"`perf kvm stat record -a`, or `perf record -a -c 1 -R {names}`"
                )
        return tuple(found)


def pair(parts: Sequence[ExitColumns]) -> Exits:
    """Pair begins with their ends, and give each pair the key that fits best."""
    if not parts or not sum(map(len, parts)):
        none = np.empty(0, np.int64)
        words = none.astype(np.uint64)
        return Exits(none, none, none.astype(np.uint16), none.astype(np.int32), words, words, words)
    columns = ExitColumns.concatenate(parts)
    # lexsort is stable: of equal times the one that was written first comes first.
    columns = columns.take(np.lexsort((columns.time, columns.tid)))
    columns = columns.take(_after_first_entry(columns))
    refines = columns.role == Role.REFINE
    # For every row the latest refinement before it; it counts if it lies behind the begin.
    latest = np.maximum.accumulate(np.where(refines, np.arange(len(columns)), -1))
    plain = np.flatnonzero(~refines)
    begin, end = plain[:-1], plain[1:]
    is_begin, is_end = columns.role[begin] == Role.BEGIN, columns.role[end] == Role.END
    same = columns.tid[begin] == columns.tid[end]
    follows = is_begin & is_end & same
    # One that says nothing of what is measured may well stand alone, such as an entry.
    keyed = columns.keyed[plain]
    unpaired = int(keyed.sum() - (follows & keyed[:-1]).sum() - (follows & keyed[1:]).sum())
    begin, end = begin[follows], end[follows]
    key_at = np.where(columns.keyed[begin], begin, end)
    key_at = np.where(latest[end] > begin, latest[end], key_at)
    good = columns.keyed[key_at] & (columns.time[end] >= columns.time[begin])
    begin, end, key_at = begin[good], end[good], key_at[good]
    pc = np.where(columns.pc[begin] > 0, columns.pc[begin], columns.pc[end])
    vcpu = np.where(columns.vcpu[end] >= 0, columns.vcpu[end], columns.vcpu[begin])
    order = np.argsort(columns.time[end], kind="stable")
    return Exits(
        time=columns.time[end][order],
        duration=(columns.time[end] - columns.time[begin])[order],
        guest=columns.guest[begin][order],
        vcpu=vcpu[order],
        key=columns.key[key_at][order],
        detail=columns.detail[key_at][order],
        pc=pc[order],
        unpaired=unpaired,
    )


def _after_first_entry(columns: ExitColumns) -> NDArray[np.bool_]:
    """From each thread's first entry on; everything where a measurement knows no entries."""
    if not columns.entry.any():
        return np.ones(len(columns), np.bool_)
    starts = np.flatnonzero(np.r_[True, columns.tid[1:] != columns.tid[:-1]])
    seen = np.cumsum(columns.entry)
    before: NDArray[np.int64] = seen[starts] - columns.entry[starts]
    lengths = np.diff(np.r_[starts, len(columns)])
    return seen > np.repeat(before, lengths)
