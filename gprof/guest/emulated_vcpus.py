"""The registers of emulated x86-64 vcpus, read where QEMU keeps them: in its own memory.

What `info registers` prints of an emulated vcpu that runs is what lies there at that moment. To
have it printed, QEMU's main loop must wake up, take its big lock and write ten thousand letters;
reading it takes a microsecond, and QEMU does not know of it. Under KVM the registers are in the
kernel, and QEMU has to be asked.

The layout is that of CPUX86State in target/i386/cpu.h (7.2 and 10.0 looked at). Nothing says where
it lies or that this QEMU has the same: so it is looked for by what the monitor says of the
interrupt tables, and believed when everything in it agrees with what the monitor says of it.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from gprof.guest.monitor_registers import Reading
from gprof.guest.monitor_registers.x86_64 import GENERAL

#: Offset and size of each register. Sixteen of 8 bytes, pc, flags and three words of lazy ones; two
#: numbers of 4 bytes, then the hidden flags; ten segments and tables (es, cs, ss, ds, fs, gs, ldt,
#: tr, gdt, idt) of selector, padding, base, limit and flags; cr0 to cr4.
_SEGMENTS, _SEGMENT = 184, 24
_CONTROL = _SEGMENTS + 10 * _SEGMENT
_PLACES: Mapping[str, tuple[int, int]] = {
    **{name: (8 * number, 8) for number, name in enumerate((*GENERAL, "pc"))},
    "code base": (_SEGMENTS + 1 * _SEGMENT + 8, 8),
    "gs base": (_SEGMENTS + 5 * _SEGMENT + 8, 8),
    "gdt base": (_SEGMENTS + 8 * _SEGMENT + 8, 8),
    "gdt limit": (_SEGMENTS + 8 * _SEGMENT + 16, 4),
    "idt base": (_SEGMENTS + 9 * _SEGMENT + 8, 8),
    "idt limit": (_SEGMENTS + 9 * _SEGMENT + 16, 4),
    "cr0": (_CONTROL, 8),
    "cr3": (_CONTROL + 3 * 8, 8),
    "cr4": (_CONTROL + 4 * 8, 8),
}
_SIZE = _CONTROL + 5 * 8
#: Lowest bit and mask of what is in the hidden flags: HF_CPL, HF_PE, HF_SMM (target/i386/cpu.h).
_HIDDEN_AT = 176
_HIDDEN: Mapping[str, tuple[int, int]] = {
    "level": (0, 3),
    "protected": (7, 1),
    "management": (19, 1),
}
#: Base and limit of the interrupt table, by which it is looked for.
_TABLE_AT, _ = _PLACES["idt base"]
_TABLE = struct.Struct("<QI")

_CHUNK = 1 << 20
_MOST_HEAP = 1 << 28
#: More places than this that look like an interrupt table are none.
_MOST_PLACES = 4096

#: Those that say which vcpu it is, and must agree whenever they are compared.
_STEADY = ("cr0", "cr4", "gdt base", "gdt limit", "idt base", "idt limit", "protected")
_MOVING = ("pc", *GENERAL, "cr3", "code base", "gs base", "level", "management")
#: Those that must have been seen to agree, with another value than 0.
_WANTED = frozenset({"pc", "rsp", "cr0"})
#: Comparisons; how many registers must have agreed.
_MOST_ROUNDS, _ENOUGH = 40, 10


class OwnMemory(Protocol):
    """The memory of QEMU itself."""

    def heap(self) -> Iterable[tuple[int, int]]:
        """Where its heap begins and ends: nothing there was written by the guest at its will."""

    def read_own(self, address: int, size: int) -> bytes:
        """What is there of so many bytes at an address of QEMU's; b"" where nothing is."""


class State:
    """The registers of a vcpu at one moment; see `Reading`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __call__(self, name: str) -> int | None:
        """See `Reading`. Whether it is halted is not among them."""
        if name in _HIDDEN:
            shift, mask = _HIDDEN[name]
            return self._number(_HIDDEN_AT, 4) >> shift & mask
        return self._number(*_PLACES[name]) if name in _PLACES else None

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._data[at : at + size], "little")


class EmulatedVcpus:
    """Reads the registers of all vcpus, a microsecond each.

    Args:
        memory: of QEMU.
        places: where each vcpu's state lies, by its index; see `find`.
    """

    def __init__(self, memory: OwnMemory, places: Mapping[int, int]) -> None:
        self._memory = memory
        self._places = places

    @classmethod
    def find(cls, memory: OwnMemory, ask: Callable[[], Mapping[int, Reading]]) -> Self | None:
        """Look for the states of all vcpus; None where that does not succeed, now at least.

        Args:
            memory: of QEMU.
            ask: what the monitor says now.
        """
        said = ask()
        tables = {(read("idt base"), read("idt limit")) for read in said.values()}
        # A vcpu that was not started has a table at 0, and memory is full of zeros.
        patterns = {_TABLE.pack(base, limit) for base, limit in tables if base and limit}
        if len(patterns) != len(tables):
            return None
        candidates = list(dict.fromkeys(_candidates(memory, patterns)))
        evidence = {vcpu: {at: _Evidence() for at in candidates} for vcpu in said}
        for _ in range(_MOST_ROUNDS):
            before = _states(memory, candidates)
            said = ask()
            after = _states(memory, candidates)
            for vcpu, of_place in evidence.items():
                for at in list(of_place):
                    if vcpu not in said or not of_place[at].weigh(
                        said[vcpu], before.get(at), after.get(at)
                    ):
                        del of_place[at]
                if not of_place:
                    return None
            candidates = list(dict.fromkeys(at for of in evidence.values() for at in of))
            places = _decided(evidence)
            if places is not None:
                return cls(memory, places)
        return None

    def read(self) -> dict[int, Reading]:
        """The registers of each vcpu as it wrote them down last; none of a QEMU that has gone."""
        states = _states(self._memory, self._places.values())
        return {vcpu: states[at] for vcpu, at in self._places.items() if at in states}

    def agrees(self, ask: Callable[[], Mapping[int, Reading]]) -> bool:
        """Whether the monitor says the same of what does not change, still.

        A vcpu that was unplugged leaves its memory to others.
        """
        before, said, after = self.read(), ask(), self.read()
        if not before.keys() == said.keys() == after.keys():
            return False
        return not any(_refuted(said[vcpu], before[vcpu], after[vcpu]) for vcpu in said)


@dataclass(slots=True)
class _Evidence:
    """What speaks for a place being the state of a vcpu.

    Attributes:
        agreed: how often each register was there as the monitor said.
        differed: how often it was not, though it did not change.
        told: those of `agreed` that held another value than 0.
    """

    agreed: Counter[str] = field(default_factory=Counter)
    differed: Counter[str] = field(default_factory=Counter)
    told: set[str] = field(default_factory=set)

    def weigh(self, said: Reading, before: State | None, after: State | None) -> bool:
        """Compare once more; whether the place is still possible."""
        if before is None or after is None:
            return False
        if _refuted(said, before, after):
            return False
        for name in (*_STEADY, *_MOVING):
            there, told = before(name), _value(said, name)
            if there != after(name) or told is None:
                continue  # who knows which of the two the monitor saw
            if there == told:
                self.agreed[name] += 1
                if there:
                    self.told.add(name)
            else:
                # It may have changed twice, but not most of the time.
                self.differed[name] += 1
        return True

    @property
    def holds(self) -> bool:
        """Whether no register speaks against it."""
        return all(self.agreed[name] >= count for name, count in self.differed.items())


def _decided(evidence: Mapping[int, Mapping[int, _Evidence]]) -> dict[int, int] | None:
    """The place of each vcpu, where every vcpu has just one and all registers are proven."""
    places = {}
    told: set[str] = set()
    for vcpu, of_place in evidence.items():
        possible = [at for at, one in of_place.items() if one.holds and "rsp" in one.told]
        if len(possible) != 1:
            return None
        places[vcpu] = possible[0]
        told |= of_place[possible[0]].told
    enough = told >= _WANTED and len(told & set(GENERAL)) >= _ENOUGH
    return places if enough and len(set(places.values())) == len(places) else None


def _refuted(said: Reading, before: Reading, after: Reading) -> bool:
    """Whether a place has something else than the monitor says where neither changes."""
    return any(before(name) == after(name) != _value(said, name) for name in _STEADY)


def _value(said: Reading, name: str) -> int | None:
    if name == "protected":
        cr0 = said("cr0")
        return cr0 & 1 if cr0 is not None else None
    return said(name)


def _states(memory: OwnMemory, places: Iterable[int]) -> dict[int, State]:
    found = {}
    for at in places:
        data = memory.read_own(at, _SIZE)
        if len(data) == _SIZE:
            found[at] = State(data)
    return found


def _candidates(memory: OwnMemory, patterns: Iterable[bytes]) -> Iterator[int]:
    """Where QEMU's heap holds an interrupt table. The guest could feign one in its RAM alone."""
    count = 0
    for start, end in memory.heap():
        for chunk in range(start, min(end, start + _MOST_HEAP), _CHUNK):
            data = memory.read_own(chunk, min(_CHUNK + _TABLE.size, end - chunk))
            for pattern in patterns:
                at = -1
                while (at := data.find(pattern, at + 1, _CHUNK + _TABLE.size)) >= 0:
                    if at % 8 == 0:
                        yield chunk + at - _TABLE_AT
                        count += 1
                    if count >= _MOST_PLACES:
                        return
