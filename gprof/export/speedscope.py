"""The JSON file of speedscope: one profile a vcpu, samples in the order of time.

Follows the schema that speedscope publishes
(https://www.speedscope.app/file-format-schema.json) and, beyond it, what its importer relies
on: as many weights as samples, indices in range, an end value that is the sum of the weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from gprof import __version__
from gprof.export.heading import describe
from gprof.export.json_text import dumped, joined, numbers
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.inlining import inlined_traces
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.traces import Thread, Traces
from symbols.lines_of_space import SpaceLines
from symbols.names import printable

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


@dataclass(frozen=True, slots=True)
class Speedscope:
    """Writes a speedscope file.

    Samples that follow one another on the same stack are one entry of their summed weight:
    speedscope draws them as one anyway.

    Attributes:
        chosen: which samples count.
        lines: tells which functions were inlined; None to do without.
    """

    chosen: Filter = EVERYTHING
    lines: SpaceLines | None = None

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = inlined_traces(profile, self.chosen, self.lines)
        guests = ", ".join(describe(guest) for _, guest in sorted(profile.guests.items()))
        head = {
            "$schema": SCHEMA,
            "name": guests or "gprof",
            "exporter": f"gprof {__version__}",
            "activeProfileIndex": 0,
            "shared": {"frames": [_frame(place) for place in found.places]},
        }
        out.write(dumped(head)[:-1].encode())
        out.write(b',"profiles":[')
        stacks = [json.dumps(stack[::-1], separators=(",", ":")) for stack in found.stacks]
        # The schema wants no profile to be there; speedscope itself wants one.
        threads = found.threads or (Thread(0, 0, "", "no samples", 0, 0),)
        for number, thread in enumerate(threads):
            if number:
                out.write(b",")
            out.writelines(part.encode() for part in _profile(found, number, thread, stacks))
        out.write(b"]}\n")


def _frame(place: Place) -> dict[str, Any]:
    frame = {"name": printable(place.name) or "[nameless]"}
    if place.module != place.name:
        frame["file"] = printable(place.module)
    return frame


def _profile(found: Traces, number: int, thread: Thread, stacks: list[str]) -> Iterator[str]:
    here = np.flatnonzero(found.thread == number)
    here = here[np.argsort(found.samples.time[here], kind="stable")]
    stack = found.stack[here]
    first = np.ones(len(stack), bool)
    first[1:] = stack[1:] != stack[:-1]
    starts = np.flatnonzero(first)
    weights = found.samples.weight[here].astype(np.int64)
    sums = np.add.reduceat(weights, starts) if len(starts) else weights
    head = {
        "type": "sampled",
        "name": thread.name,
        "unit": "none",
        "startValue": 0,
        "endValue": thread.weight,
    }
    yield dumped(head)[:-1] + ',"samples":['
    yield from joined(stacks[number] for number in stack[starts].tolist())
    yield '],"weights":['
    yield from numbers(sums)
    yield "]}"
