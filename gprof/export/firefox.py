"""The processed profile of the Firefox Profiler: a thread a vcpu, every sample with its time.

Version 57 of the format (`PROCESSED_PROFILE_VERSION` and the types in `src/types/profile.ts` of
github.com/firefox-devtools/profiler). Later profilers upgrade it when they load it; the tables
of later versions are split differently and gain a guest's profile nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from gprof import __version__
from gprof.export.heading import describe
from gprof.export.json_text import dumped, numbers
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.inlining import inlined_traces
from gprof.profile.places import Place
from gprof.profile.prefix_tree import PrefixTree, prefix_tree
from gprof.profile.profile import Profile
from gprof.profile.traces import Thread, Traces, images_of
from gprof.profile.tree import NodeKind, kind_of
from gprof.sampling.source import Int64s
from symbols.lines_of_space import SpaceLines
from symbols.names import printable
from symbols.space import LoadedImage

_VERSION = 57
_LIBRARY = 1  # ResourceTable's type of a library

#: A category for each kind of code. One must be grey, and the first subcategory be "Other".
_COLOURS = {
    NodeKind.UNKNOWN: "grey",
    NodeKind.KERNEL: "orange",
    NodeKind.MODULE: "green",
    NodeKind.USER: "blue",
    NodeKind.IDLE: "transparent",
    NodeKind.FIRMWARE: "purple",
}
_CATEGORIES = [
    {"name": "Other" if kind is NodeKind.UNKNOWN else kind.value.capitalize(),
     "color": colour, "subcategories": ["Other"]}
    for kind, colour in _COLOURS.items()
]  # fmt: skip
_CATEGORY = {kind: number for number, kind in enumerate(_COLOURS)}


@dataclass(frozen=True, slots=True)
class Firefox:
    """Writes a processed profile as JSON.

    Attributes:
        chosen: which samples count.
        lines: tells which functions were inlined; None to do without.
    """

    chosen: Filter = EVERYTHING
    lines: SpaceLines | None = None

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = inlined_traces(profile, self.chosen, self.lines)
        tables = _Tables(profile, found)
        out.write(f'{{"meta":{dumped(_meta(profile))},"threads":['.encode())
        threads = found.threads or (Thread(0, 0, "", "no samples", 0, 0),)
        for number, thread in enumerate(threads):
            if number:
                out.write(b",")
            out.writelines(part.encode() for part in tables.thread(number, thread))
        rest = {"libs": tables.libs, "shared": {"stringArray": list(tables.strings)}}
        out.write(f"],{dumped(rest)[1:]}\n".encode())


def _meta(profile: Profile) -> dict[str, Any]:
    facts = profile.facts
    guests = [guest for _, guest in sorted(profile.guests.items())]
    return {
        "version": 24,
        "preprocessedProfileVersion": _VERSION,
        "interval": 1000 / (facts.reached_hz or 1000),
        "startTime": profile.started_ns / 1e6,
        "processType": 0,
        "product": ", ".join(describe(guest) for guest in guests) or "gprof",
        "importedFrom": f"gprof {__version__}",
        "stackwalk": 1,
        "debug": False,
        "categories": _CATEGORIES,
        "markerSchema": [],
        "symbolicated": True,
        "usesOnlyOneStackType": True,
        "doesNotUseFrameImplementation": True,
        "sourceCodeIsNotOnSearchfox": True,
    }


@dataclass(slots=True)
class _Tables:
    """What threads share, and the tables of each."""

    profile: Profile
    found: Traces
    strings: dict[str, int] = field(default_factory=dict)
    libs: list[dict[str, Any]] = field(default_factory=list)
    _lib_of: dict[tuple[int, str, int], int] = field(default_factory=dict)
    _images: dict[tuple[int, str, int], LoadedImage] = field(default_factory=dict)
    _start: int = 0
    _tree: PrefixTree = field(init=False)

    def __post_init__(self) -> None:
        self._tree = prefix_tree(self.found.stacks)
        self._images = images_of(self.profile)
        self._start = int(self.found.samples.time.min()) if len(self.found.samples) else 0

    def string(self, text: str) -> int:
        """The index of a text."""
        return self.strings.setdefault(text, len(self.strings))

    def thread(self, number: int, thread: Thread) -> Iterator[str]:
        """One thread's JSON, in pieces."""
        found = self.found
        here = np.flatnonzero(found.thread == number)
        here = here[np.argsort(found.samples.time[here], kind="stable")]
        ends = self._tree.end[found.stack[here]]
        used = self._tree.reaching(ends)
        row = np.cumsum(used) - 1
        caller = self._tree.caller[used]
        # A root's caller, -1, is looked up as the last row, and not used.
        prefix = np.where(caller < 0, -1, row[caller]) if len(caller) else caller
        microseconds = (found.samples.time[here] - self._start + 500) // 1000
        head = {
            "processType": "default",
            "processName": thread.guest_name,
            "processStartupTime": 0,
            "processShutdownTime": None,
            "registerTime": 0,
            "unregisterTime": None,
            "pausedRanges": [],
            "showMarkersInTimeline": False,
            "name": thread.name,
            "isMainThread": False,
            # Processes and threads have no numbers here; these keep guests and vcpus apart.
            "pid": f"guest {thread.guest}",
            "tid": (thread.guest << 16) + thread.vcpu + 1,
            "markers": _columns("data name startTime endTime phase category"),
            "nativeSymbols": _columns("libIndex address name functionSize"),
            **self._functions(self._tree.frame[used], prefix),
        }
        yield dumped(head)[:-1] + ',"samples":{"weightType":"samples","stack":['
        yield from numbers(row[ends])
        yield '],"time":['
        yield from numbers(microseconds, "e-3")
        yield '],"weight":['
        yield from numbers(found.samples.weight[here])
        yield f'],"length":{len(here)}}}}}'

    def _functions(self, places: Int64s, prefix: Int64s) -> dict[str, Any]:
        """The tables of stacks, frames, functions and the libraries that hold them."""
        used, number = np.unique(places, return_inverse=True)
        own = [self.found.places[place] for place in used.tolist()]
        resources: dict[tuple[int, int], int] = {}
        resource = []
        for place in own:
            key = (self.string(printable(place.module)), self._lib(place))
            resource.append(resources.setdefault(key, len(resources)))
        nothing = [None] * len(own)
        names = [self.string(printable(place.name) or "[nameless]") for place in own]
        return {
            "stackTable": {
                "frame": number.tolist(),
                "prefix": [None if caller < 0 else caller for caller in prefix.tolist()],
                "length": len(places),
            },
            "frameTable": {
                "address": [-1] * len(own),
                "inlineDepth": [0] * len(own),
                "category": [_CATEGORY[kind_of(place)] for place in own],
                "subcategory": [0] * len(own),
                "func": list(range(len(own))),
                "nativeSymbol": nothing,
                "innerWindowID": [0] * len(own),
                "line": nothing,
                "column": nothing,
                "length": len(own),
            },
            "funcTable": {
                "isJS": [False] * len(own),
                "relevantForJS": [False] * len(own),
                "name": names,
                "resource": resource,
                "fileName": nothing,
                "lineNumber": nothing,
                "columnNumber": nothing,
                "length": len(own),
            },
            "resourceTable": {
                "lib": [lib for _, lib in resources],
                "name": [name for name, _ in resources],
                "host": [None] * len(resources),
                "type": [_LIBRARY] * len(resources),
                "length": len(resources),
            },
        }

    def _lib(self, place: Place) -> int:
        """The index of the library that stands for a place's image."""
        key = (place.guest, place.module, place.image_start)
        image = self._images.get(key)
        if image is None:
            key = (place.guest, place.module, 0)
        if key not in self._lib_of:
            self._lib_of[key] = len(self.libs)
            name = printable(place.module)
            build_id = image.build_id.hex() if image is not None else ""
            guest = self.profile.guests.get(place.guest)
            self.libs.append(
                {
                    "arch": printable(guest.architecture) if guest else "",
                    "name": name,
                    "path": printable(image.path) if image is not None and image.path else name,
                    "debugName": name,
                    "debugPath": name,
                    # Breakpad's form: 16 bytes and an age; ELF files have no age.
                    "breakpadId": f"{build_id[:32]:0<32}0".upper(),
                    "codeId": build_id or None,
                }
            )
        return self._lib_of[key]


def _columns(names: str) -> dict[str, Any]:
    return {**{name: [] for name in names.split()}, "length": 0}
