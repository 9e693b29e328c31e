"""Samples with the stacks of all vcpus: registers first, then what the stack pointers point to.

The guest stands while we look at the registers; the second question carries the continue. A vcpu
on an interrupt's stack needs a third one, for the stack below it. Which stacks are of that kind is
seen from their contents once they were read: the first sample on each goes without.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from gprof.guest.dialogue import Exchange
from gprof.guest.greeting import Vcpu
from gprof.guest.machine import Machine, Sampled
from gprof.guest.stop import Stop

#: The stacks of Linux are of this size (THREAD_SIZE, IRQ_STACK_SIZE) or larger. Those of tasks
#: are aligned to it, those of interrupts may not be.
STACK_SIZE = 1 << 14
_PAGE = 1 << 12
#: Pieces do not cross a multiple of this, so that a page that is not mapped costs only itself.
_PIECE = 1 << 11
_WRAP = 1 << 64
#: Every vcpu has one or two; what a hostile guest makes up is forgotten again.
_MOST_REMEMBERED = 4096

#: Address and bytes; address and size.
_Chunk: TypeAlias = tuple[int, bytes]
_Pieces: TypeAlias = list[tuple[int, int]]


class StackReader:
    """Takes samples with stacks.

    Args:
        machine: what to sample.
        most: bytes of a stack to read at most; less where its end is nearer.
        patient: let the guest wait until it is seen whether another stack lies below, always.
    """

    def __init__(self, machine: Machine, most: int = STACK_SIZE, *, patient: bool = False) -> None:
        self._patient = patient
        self._machine = machine
        self._most = most
        # The stub takes half a packet: two digits a byte.
        self._piece = min(_PIECE, 1 << ((machine.stub.packet_size // 2).bit_length() - 1))
        # The page after each stack that is known to have another one below it.
        self._tops: OrderedDict[int, None] = OrderedDict()

    def sample(
        self, vcpus: Sequence[Vcpu], *, timed: bool = False
    ) -> tuple[Exchange, list[Sampled]]:
        """Where each vcpu stands at one instant, and its stack; see `Stub.stopped`."""
        machine = self._machine
        below: dict[int, _Chunk] = {}
        with machine.stub.stopped(timed=timed) as stop:
            # Until the last question is sent the guest waits: what can be done later is.
            replies = machine.ask_in_stop(stop, vcpus)
            pointers = dict(zip(vcpus, machine.stack_pointers(vcpus, replies), strict=True))
            on_stack = {vcpu: sp for vcpu, sp in pointers.items() if sp is not None}
            more = self._patient or any(map(self._known, on_stack.values()))
            wanted = {vcpu: self._pieces(sp) for vcpu, sp in on_stack.items()}
            first = self._ask(stop, wanted, last=not more)
            if more:
                chunks = self._chunks(wanted, first)
                others = self._others(machine.sampled_in_stop(vcpus, replies), vcpus, chunks)
                wanted_below = {vcpu: self._pieces(address) for vcpu, address in others.items()}
                below = self._chunks(wanted_below, self._ask(stop, wanted_below, last=True))
        sampled = machine.sampled_in_stop(vcpus, replies)
        chunks = self._chunks(wanted, first)
        self._others(sampled, vcpus, chunks)
        return stop.exchange, [
            replace(
                one,
                memory=tuple(found[vcpu.index] for found in (chunks, below) if vcpu.index in found),
            )
            if one.registers is not None
            else one
            for vcpu, one in zip(vcpus, sampled, strict=True)
        ]

    def _others(
        self, sampled: Sequence[Sampled], vcpus: Sequence[Vcpu], chunks: dict[int, _Chunk]
    ) -> dict[Vcpu, int]:
        """Where stacks go on elsewhere; remembers which ones have such a place."""
        found = {}
        for vcpu, one in zip(vcpus, sampled, strict=True):
            if one.registers is None or one.vcpu not in chunks:
                continue
            start, chunk = chunks[one.vcpu]
            address = self._machine.architecture.other_stack(one.registers.fp, start, chunk)
            if address is None:
                continue
            found[vcpu] = address
            self._tops[-(-(start + len(chunk)) // _PAGE)] = None
            while len(self._tops) > _MOST_REMEMBERED:
                self._tops.popitem(last=False)
        return found

    def _known(self, sp: int) -> int | None:
        """The end of the stack that a stack pointer is on, if another lies below that one."""
        page = sp // _PAGE + 1
        for top in range(page, page + STACK_SIZE // _PAGE):
            if top in self._tops:
                return top * _PAGE
        return None

    def _pieces(self, address: int) -> _Pieces:
        """Address and size of what to read from there on, up to the end of the stack."""
        at = address & ~7
        top = self._known(address) or (address & -STACK_SIZE) + STACK_SIZE
        end = min(top, at + self._most, _WRAP)
        pieces = []
        while at < end:
            size = min(self._piece - at % self._piece, end - at)
            pieces.append((at, size))
            at += size
        return pieces

    @staticmethod
    def _ask(stop: Stop, wanted: dict[Vcpu, _Pieces], *, last: bool) -> list[bytes]:
        """The replies for all pieces, each vcpu's after the one that chooses it."""
        requests = [
            request
            for vcpu, pieces in wanted.items()
            for request in (b"Hg" + vcpu.thread, *(b"m%x,%x" % piece for piece in pieces))
        ]
        return stop.ask(requests, last=last) if requests else []

    @staticmethod
    def _chunks(wanted: dict[Vcpu, _Pieces], replies: Sequence[bytes]) -> dict[int, _Chunk]:
        """By vcpu, its pieces up to the first that could not be read; none where none could."""
        left = iter(replies)
        found = {}
        for vcpu, pieces in wanted.items():
            whole = next(left) == b"OK"
            chunk = bytearray()
            for (_, size), reply in zip(pieces, [next(left) for _ in pieces], strict=True):
                data = _bytes(reply, size) if whole else b""
                whole = len(data) == size
                chunk += data
            if chunk:
                found[vcpu.index] = (pieces[0][0], bytes(chunk))
        return found


def _bytes(reply: bytes, size: int) -> bytes:
    """The bytes of a reply to `m`; none where it is an error."""
    if len(reply) != 2 * size:
        return b""
    try:
        return bytes.fromhex(reply.decode("ascii"))
    except ValueError:
        return b""
