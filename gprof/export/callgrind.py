"""The profile format of Callgrind, for KCachegrind and `callgrind_annotate`.

Follows "Callgrind Format Specification" of the Valgrind manual, version 1, with compressed names
and positions of instructions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from gprof import __version__
from gprof.export.heading import describe
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.profile import Profile
from gprof.profile.traces import Traces, traces
from symbols.names import printable


@dataclass(frozen=True, slots=True)
class Callgrind:
    """Writes one part with one event, `Samples`.

    Samples tell how long calls took, not how many there were: the number of calls is that of
    the samples within them.

    Attributes:
        chosen: which samples count.
    """

    chosen: Filter = EVERYTHING

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = traces(profile, self.chosen, exact=True)
        guests = ", ".join(describe(guest) for _, guest in sorted(profile.guests.items()))
        head = (
            "# callgrind format\n"
            "version: 1\n"
            f"creator: gprof {__version__}\n"
            f"cmd: {guests or 'unknown guest'}\n"
            "positions: instr line\n"
            "events: Samples\n"
            f"summary: {found.weight}\n"
        )
        out.write(head.encode())
        out.writelines(line.encode() + b"\n" for line in _Costs(profile, found).lines())


@dataclass(slots=True)
class _Costs:
    """What each function costs by itself, and in its calls, at which address."""

    profile: Profile
    found: Traces
    own: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    calls: dict[int, dict[tuple[int, int], int]] = field(default_factory=lambda: defaultdict(dict))
    _names: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (stack,), _, weight = self.found.merged(self.found.stack)
        for number, cost in zip(stack.tolist(), weight.tolist(), strict=True):
            frames, pcs = self.found.stacks[number], self.found.pcs[number]
            own = self.own[frames[0]]
            own[pcs[0]] = own.get(pcs[0], 0) + cost
            # A call that a stack has twice, as recursion does, contains its samples once.
            edges = set(zip(frames[1:], pcs[1:], frames[:-1], strict=True))
            for caller, pc, callee in edges:
                calls = self.calls[caller]
                calls[pc, callee] = calls.get((pc, callee), 0) + cost

    def lines(self) -> Iterator[str]:
        """The body, functions in the order of their first sight."""
        for place in sorted(self.own.keys() | self.calls.keys()):
            yield ""
            yield f"ob={self._name('ob', self._image(place))}"
            yield f"fl={self._name('fl', '???')}"
            yield f"fn={self._name('fn', self._function(place))}"
            for pc, cost in sorted(self.own.get(place, {}).items()):
                yield f"{pc:#x} 0 {cost}"
            for (pc, callee), cost in sorted(self.calls.get(place, {}).items()):
                yield f"cob={self._name('ob', self._image(callee))}"
                yield f"cfn={self._name('fn', self._function(callee))}"
                yield f"calls={cost} {self.found.places[callee].address:#x} 0"
                yield f"{pc:#x} 0 {cost}"

    def _name(self, kind: str, name: str) -> str:
        """A name where it is first seen with its number, then the number alone."""
        key = (kind, name)
        if key in self._names:
            return f"({self._names[key]})"
        number = self._names[key] = len(self._names) + 1
        return f"({number}) {name}"

    def _image(self, place: int) -> str:
        at = self.found.places[place]
        module = printable(at.module)
        if len(self.profile.guests) < 2:
            return module
        guest = self.profile.guests.get(at.guest)
        return f"{printable(guest.name) if guest else f'guest {at.guest}'}/{module}"

    def _function(self, place: int) -> str:
        # Names are whole lines; one that began like a number in brackets would be taken for one.
        name = printable(self.found.places[place].name) or "[nameless]"
        return f" {name}" if name.startswith("(") else name
