"""The text of `perf script`, which most converters read: every sample with its time and stack.

The form is that of perf 6.1 (`process_event` in tools/perf/builtin-script.c)::

    comm pid/tid [cpu] seconds: period event:
            address symbol+offset (image)

and an empty line after each sample.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.tasks import GuestTask
from gprof.profile.traces import Thread, Traces, traces
from gprof.sampling.source import Int64s
from symbols.names import printable
from symbols.space import ImageKind

_EVENT = "cpu-clock"
_PIECE = 1000  # samples written at once: half a megabyte, that stays in the cache
_SECOND = 1_000_000  # in microseconds
_PROCESS = 10_000  # numbers of guests are so far apart; a guest has fewer vcpus
_TASKS = 10_000_000  # the same for guests of which tasks are known: Linux counts to 4194304


@dataclass(frozen=True, slots=True)
class PerfScript:
    """Writes what `perf script` would print.

    A thread is the guest's, by its name and numbers. Where it is unknown a vcpu is a thread of its
    guest, whose process and thread numbers only keep them apart. The period is the sample's
    weight.

    Attributes:
        chosen: which samples count.
    """

    chosen: Filter = EVERYTHING

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = traces(profile, self.chosen, exact=True)
        samples = found.samples
        microseconds = np.maximum(samples.time, 0) // 1000
        second = microseconds // _SECOND
        # A sample is four pieces of text. All but its microsecond are those of many others.
        heads, head = _heads(profile, found, second)
        digits = _digits(microseconds - second * _SECOND)
        (weights,), tail = found.alike(samples.weight)
        tails = [f": {weight:10d} {_EVENT}: \n".encode() for weight in weights.tolist()]
        stacks = _stacks(found)
        order = np.argsort(samples.time, kind="stable")
        for first in range(0, len(order), _PIECE):
            at = order[first : first + _PIECE]
            parts = [b""] * (4 * len(at))
            parts[0::4] = map(heads.__getitem__, head[at].tolist())
            parts[1::4] = digits[at].tolist()
            parts[2::4] = map(tails.__getitem__, tail[at].tolist())
            parts[3::4] = map(stacks.__getitem__, found.stack[at].tolist())
            out.write(b"".join(parts))


def _heads(profile: Profile, found: Traces, second: Int64s) -> tuple[list[bytes], Int64s]:
    """What comes before the fraction of a second: the distinct texts, each sample's number."""
    tasks = profile.tasks.known(found.samples.task)
    columns, head = found.alike(found.thread, tasks, second)
    known: dict[tuple[int, int], str] = {}
    heads = []
    for thread, task, at in zip(*(column.tolist() for column in columns), strict=True):
        who = known.get((thread, task))
        if who is None:
            who = known[thread, task] = _head(found.threads[thread], profile.tasks[task])
        heads.append(f"{who}{at}.".encode())
    return heads, head


def _digits(microseconds: Int64s) -> NDArray[np.bytes_]:
    """The six digits of each."""
    digits = np.empty((len(microseconds), 6), np.uint8)
    for column in reversed(range(6)):
        rest = microseconds // 10
        digits[:, column] = microseconds - 10 * rest + ord("0")
        microseconds = rest
    return digits.view("S6")[:, 0]


def _head(thread: Thread, task: GuestTask | None) -> str:
    """What ran, up to the time."""
    if task is None:
        process = _PROCESS * (thread.guest + 1)
        own = process + 1 + thread.vcpu
        name = f"{thread.guest_name}_vcpu{thread.vcpu}"
    else:
        first = _TASKS * thread.guest
        process, own = first + task.tgid, first + task.pid
        name = task.comm
    return f"{_word(name)} {process}/{own} [{thread.vcpu:03d}] "


def _stacks(found: Traces) -> list[bytes]:
    """The lines of each stack, with the empty one that ends a sample."""
    named = [_name(place) for place in found.places]
    images = [_word(printable(place.module)) for place in found.places]

    def line(frame: tuple[int, int]) -> bytes:
        number, pc = frame
        place = found.places[number]
        # Readers strip an offset, and a nameless page is called by one: it gets its own.
        # A program's function is elsewhere in each process, a module's in each era.
        known = not place.reason.expected and place.kind is not ImageKind.USER
        offset = f"+{pc - place.address:#x}" if known and pc >= place.address else ""
        return f"\t{pc:16x} {named[number]}{offset} ({images[number]})\n".encode()

    frames: set[tuple[int, int]] = set()  # a call is on many stacks
    for places, pcs in zip(found.stacks, found.pcs, strict=True):
        frames.update(zip(places, pcs, strict=True))
    lines = {frame: line(frame) for frame in frames}
    return [
        b"".join(map(lines.__getitem__, zip(places, pcs, strict=True))) + b"\n"
        for places, pcs in zip(found.stacks, found.pcs, strict=True)
    ]


def _name(place: Place) -> str:
    return printable(place.name) or "[nameless]"


def _word(text: str) -> str:
    """A text without what ends a column for those who read the lines."""
    return re.sub(r"[\s()]", "_", text) or "_"
