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

from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.traces import Traces, traces
from symbols.names import printable

_EVENT = "cpu-clock"
_PIECE = 10_000  # samples written at once
_PROCESS = 10_000  # numbers of guests are so far apart; a guest has fewer vcpus


@dataclass(frozen=True, slots=True)
class PerfScript:
    """Writes what `perf script` would print.

    A vcpu is a thread of its guest; process and thread numbers only keep them apart. The period
    is the sample's weight.

    Attributes:
        chosen: which samples count.
    """

    chosen: Filter = EVERYTHING

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = traces(profile, self.chosen, exact=True)
        stacks = _stacks(found)
        heads = [
            f"{_word(thread.guest_name)}_vcpu{thread.vcpu} {process}/{process + 1 + thread.vcpu} "
            f"[{thread.vcpu:03d}] "
            for thread in found.threads
            for process in (_PROCESS * (thread.guest + 1),)
        ]
        order = np.argsort(found.samples.time, kind="stable")
        for first in range(0, len(order), _PIECE):
            at = order[first : first + _PIECE]
            microseconds = found.samples.time[at] // 1000
            columns = (
                found.thread[at],
                microseconds // 1_000_000,
                microseconds % 1_000_000,
                found.samples.weight[at],
                found.stack[at],
            )
            parts: list[bytes] = []
            for thread, second, micro, weight, stack in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                head = f"{heads[thread]}{second}.{micro:06d}: {weight:10d} {_EVENT}: \n"
                parts += (head.encode(), stacks[stack])
            out.write(b"".join(parts))


def _stacks(found: Traces) -> list[bytes]:
    """The lines of each stack, with the empty one that ends a sample."""
    named = [_name(place) for place in found.places]
    images = [_word(printable(place.module)) for place in found.places]
    lines: dict[tuple[int, int], bytes] = {}  # a call is on many stacks

    def line(frame: tuple[int, int]) -> bytes:
        number, pc = frame
        place = found.places[number]
        # Readers strip an offset, and a nameless page is called by one: it gets its own.
        known = not place.reason.expected
        offset = f"+{pc - place.address:#x}" if known else ""
        return f"\t{pc:16x} {named[number]}{offset} ({images[number]})\n".encode()

    return [
        b"".join(
            lines.get(frame) or lines.setdefault(frame, line(frame))
            for frame in zip(*both, strict=True)
        )
        + b"\n"
        for both in zip(found.stacks, found.pcs, strict=True)
    ]


def _name(place: Place) -> str:
    return printable(place.name) or "[nameless]"


def _word(text: str) -> str:
    """A text without what ends a column for those who read the lines."""
    return re.sub(r"[\s()]", "_", text) or "_"
