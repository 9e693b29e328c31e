"""The profile of Go's pprof: aggregated stacks with labels, mappings and build ids.

Protocol buffers are written by hand: the format is a handful of messages of numbers, all in
`proto/profile.proto` of github.com/google/pprof, whose field numbers stand below.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import BinaryIO

from gprof import __version__
from gprof.export.heading import describe
from gprof.profile.filter import EVERYTHING, Filter
from gprof.profile.inlining import Chains, chains_of, inside
from gprof.profile.places import Place
from gprof.profile.profile import Profile
from gprof.profile.traces import Thread, Traces, images_of, traces
from gprof.sampling.source import Mode
from symbols.lines_of_space import SpaceLines
from symbols.names import printable
from symbols.space import ImageKind, LoadedImage

_LAST = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Pprof:
    """Writes a compressed profile.proto.

    The first value of a sample counts samples. The second is the time that they stand for, or
    their weight where the rate is unknown or samples weigh unequally. What all formats agree in
    is the default: the weight, which mostly is the number.

    Attributes:
        chosen: which samples count.
        lines: tells source lines and inlined functions; None to do without.
    """

    chosen: Filter = EVERYTHING
    lines: SpaceLines | None = None

    def write(self, profile: Profile, out: BinaryIO) -> None:
        """See `Exporter.write`."""
        found = traces(profile, self.chosen, exact=True)
        chains = chains_of(profile, found, self.lines) if self.lines is not None else {}
        message = _Message(profile, found, chains).encoded()
        out.write(gzip.compress(message, 6, mtime=0))


#: The most frequent numbers, encoded.
_SHORT = [bytes([value]) for value in range(0x80)]


def _varint(value: int) -> bytes:
    """A number in base 128, least significant first; negative ones as 64-bit two's complement."""
    if 0 <= value < len(_SHORT):
        return _SHORT[value]
    value &= _LAST
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _number(number: int, value: int) -> bytes:
    """A numeric field; zero is the default, and left out."""
    return _varint(number << 3) + _varint(value) if value else b""


def _bytes(number: int, content: bytes) -> bytes:
    """A field of bytes: a message, a text, packed numbers."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _packed(number: int, values: Iterable[int]) -> bytes:
    return _bytes(number, b"".join(map(_varint, values)))


@dataclass(slots=True)
class _Message:
    """One profile.proto in the making. Ids count from 1; 0 means none.

    `_locations` has the id of each place, address and whether it is that of a caller, encoded,
    in the order of the ids.
    """

    profile: Profile
    found: Traces
    chains: Chains
    _strings: dict[str, int] = field(default_factory=lambda: {"": 0})
    _mappings: dict[tuple[int, str, int], int] = field(default_factory=dict)
    _locations: dict[tuple[int, int, bool], bytes] = field(default_factory=dict)
    _parts: list[bytes] = field(default_factory=list)

    def encoded(self) -> bytes:
        """The whole message."""
        facts = self.profile.facts
        even = bool((self.found.samples.weight == 1).all())
        period = round(1e9 / facts.reached_hz) if facts.reached_hz else 0
        second = ("time", "nanoseconds") if even and period else ("weight", "count")
        self._parts += [self._value_type(1, "samples", "count"), self._value_type(1, *second)]
        self._map()
        self._write_samples(period if even else 0)
        self._write_locations()
        if period:
            self._parts += [self._value_type(11, "time", "nanoseconds"), _number(12, period)]
        self._parts += [
            _number(9, self.profile.started_ns),
            _number(10, facts.covered_ns),
            _number(14, self._text("samples" if even else "weight")),
        ]
        guests = [describe(guest) for _, guest in sorted(self.profile.guests.items())]
        comments = [f"gprof {__version__}", *guests, printable(f"{facts.way} {facts.target}")]
        comments += [printable(note) for note in facts.notes]
        self._parts.append(_packed(13, [self._text(line) for line in comments]))
        self._parts += [_bytes(6, _utf8(text)) for text in self._strings]
        return b"".join(self._parts)

    def _text(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))

    def _value_type(self, number: int, kind: str, unit: str) -> bytes:
        return _bytes(number, _number(1, self._text(kind)) + _number(2, self._text(unit)))

    def _map(self) -> None:
        """The images that have samples, kernels first: readers take the first for the program."""
        images = images_of(self.profile)
        used = {(p.guest, p.module, p.image_start) for p in self.found.places}
        wanted = [(key, image) for key, image in images.items() if key in used]
        wanted.sort(key=lambda item: (item[1].kind is not ImageKind.KERNEL, item[0]))
        for number, (key, image) in enumerate(wanted, 1):
            self._mappings[key] = number
            self._parts.append(_bytes(3, self._mapping(number, key[0], image)))

    def _mapping(self, number: int, guest: int, image: LoadedImage) -> bytes:
        name = printable(image.name)
        if len(self.profile.guests) > 1:
            known = self.profile.guests.get(guest)
            name = f"{printable(known.name) if known else f'guest {guest}'}/{name}"
        return (
            _number(1, number)
            + _number(2, image.start)
            + _number(3, min(image.end, _LAST))
            + _number(5, self._text(name))
            + _number(6, self._text(image.build_id.hex()))
            + _number(7, 1)  # it has functions: readers need not look for symbols
        )

    def _write_samples(self, period: int) -> None:
        found = self.found
        (thread, stack, mode, task), count, weight = found.merged(
            found.thread, found.stack, found.mode, found.samples.task
        )
        known = self._locations
        stacks = [
            _bytes(
                1,
                b"".join(
                    known.get(frame) or known.setdefault(frame, _varint(len(known) + 1))
                    for frame in zip(places, pcs, chain((False,), repeat(True)), strict=False)
                ),
            )
            for places, pcs in zip(found.stacks, found.pcs, strict=True)
        ]
        labels: dict[tuple[int, int, int], bytes] = {}
        values: dict[tuple[int, int], bytes] = {}
        rows = zip(*(c.tolist() for c in (thread, stack, mode, task, count, weight)), strict=True)
        for of_thread, of_stack, of_mode, of_task, samples, weighs in rows:
            key = (of_thread, of_mode, of_task)
            if key not in labels:
                labels[key] = self._labels(found.threads[of_thread], Mode(of_mode), of_task)
            pair = (samples, samples * period if period else weighs)
            if pair not in values:
                values[pair] = _packed(2, pair)
            self._parts.append(_bytes(2, stacks[of_stack] + values[pair] + labels[key]))

    def _labels(self, thread: Thread, mode: Mode, task: int) -> bytes:
        def text(key: str, value: str) -> bytes:
            return _bytes(3, _number(1, self._text(key)) + _number(2, self._text(value)))

        labels = text("guest", thread.guest_name) + text("vcpu", str(thread.vcpu))
        labels += text("mode", mode.label)
        known = self.profile.tasks[task]
        if known is not None:
            labels += text("task", known.name)
            labels += text("pid", str(known.tgid)) + text("tid", str(known.pid))
        return labels

    def _write_locations(self) -> None:
        functions: dict[tuple[int, str, str], int] = {}
        for number, (place, pc, calls) in enumerate(self._locations, 1):
            at = self.found.places[place]
            mapping = self._mappings.get((at.guest, at.module, at.image_start), 0)
            content = _number(1, number) + _number(2, mapping) + _number(3, pc)
            # The function inlined deepest comes first; the last one is the place's own.
            source = self.chains.get((at.guest, inside(pc, calls)), ())
            lines = [(one.function, one.file, one.line) for one in source[:-1]]
            lines.append(("", source[-1].file, source[-1].line) if source else ("", "", 0))
            for name, file, line in lines:
                function = functions.setdefault((place, name, file), len(functions) + 1)
                content += _bytes(4, _number(1, function) + _number(2, line))
            self._parts.append(_bytes(4, content))
        for (place, name, file), number in functions.items():
            own = self.found.places[place]
            self._parts.append(_bytes(5, self._function(number, own, name, file)))

    def _function(self, number: int, place: Place, inlined: str, file: str) -> bytes:
        name = self._text(inlined or printable(place.name) or "[nameless]")
        return (
            _number(1, number)
            + _number(2, name)
            + _number(3, name)
            + _number(4, self._text(file or printable(place.module)))
        )


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
