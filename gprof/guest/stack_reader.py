"""Samples with the stacks of all vcpus: registers first, then what the stack pointers point to.

The guest stands while we look at the registers; the second question carries the continue. A vcpu
on an interrupt's stack needs a third one, for the stack below it. Which stacks are of that kind is
seen from their contents once they were read: the first sample on each goes without.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gprof.guest.gdbstub import Exchange, Stop, Vcpu
from gprof.guest.machine import Machine, Sampled

#: The stacks of Linux are of this size (THREAD_SIZE, IRQ_STACK_SIZE) or larger. Those of tasks
#: are aligned to it, those of interrupts may not be.
STACK_SIZE = 1 << 14
_PAGE = 1 << 12
#: Pieces do not cross a multiple of this, so that a page that is not mapped costs only itself.
_PIECE = 1 << 11
_WRAP = 1 << 64
#: Every vcpu has one or two; what a hostile guest makes up is forgotten again.
_MOST_REMEMBERED = 4096


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
        with self._machine.stub.stopped(timed=timed) as stop:
            sampled = self._machine.sample_in_stop(stop, vcpus)
            by_index = {vcpu.index: vcpu for vcpu in vcpus}
            first = {
                one.vcpu: list(self._pieces(one.registers.sp))
                for one in sampled
                if one.registers is not None
            }
            more = self._patient or any(
                one.registers is not None and self._known(one.registers.sp) for one in sampled
            )
            if first:
                read = self._read(stop, by_index, first, last=not more)
                sampled = [
                    replace(one, memory=read[one.vcpu]) if one.vcpu in read else one
                    for one in sampled
                ]
            below = {
                one.vcpu: list(self._pieces(address))
                for one in sampled
                if (address := self._other(one)) is not None
            }
            if more and below:
                read = self._read(stop, by_index, below, last=True)
                sampled = [
                    replace(one, memory=one.memory + read.get(one.vcpu, ())) for one in sampled
                ]
        return stop.exchange, sampled

    def _other(self, one: Sampled) -> int | None:
        """Where the stack goes on elsewhere; remembers that this one has such a place."""
        if one.registers is None or not one.memory:
            return None
        start, chunk = one.memory[0]
        address = self._machine.architecture.other_stack(one.registers, start, chunk)
        if address is not None:
            self._tops[-(-(start + len(chunk)) // _PAGE)] = None
            while len(self._tops) > _MOST_REMEMBERED:
                self._tops.popitem(last=False)
        return address

    def _known(self, sp: int) -> int | None:
        """The end of the stack that a stack pointer is on, if another lies below that one."""
        page = sp // _PAGE + 1
        for top in range(page, page + STACK_SIZE // _PAGE):
            if top in self._tops:
                return top * _PAGE
        return None

    def _pieces(self, address: int) -> Iterator[tuple[int, int]]:
        """Address and size of what to read from there on, up to the end of the stack."""
        at = address & ~7
        top = self._known(address) or (address & -STACK_SIZE) + STACK_SIZE
        end = min(top, at + self._most, _WRAP)
        while at < end:
            size = min(self._piece - at % self._piece, end - at)
            yield at, size
            at += size

    @staticmethod
    def _read(
        stop: Stop,
        vcpus: dict[int, Vcpu],
        wanted: dict[int, list[tuple[int, int]]],
        *,
        last: bool,
    ) -> dict[int, tuple[tuple[int, bytes], ...]]:
        """One chunk a vcpu: its pieces up to the first that cannot be read."""
        requests = [
            request
            for index, pieces in wanted.items()
            for request in (
                b"Hg" + vcpus[index].thread,
                *(b"m%x,%x" % piece for piece in pieces),
            )
        ]
        replies = iter(stop.ask(requests, last=last))
        found: dict[int, tuple[tuple[int, bytes], ...]] = {}
        for index, pieces in wanted.items():
            chosen = next(replies) == b"OK"
            chunk = bytearray()
            whole = chosen
            for (_, size), reply in zip(pieces, [next(replies) for _ in pieces], strict=True):
                data = _bytes(reply, size) if whole else b""
                whole = len(data) == size
                chunk += data
            found[index] = ((pieces[0][0], bytes(chunk)),) if chunk else ()
        return found


def _bytes(reply: bytes, size: int) -> bytes:
    """The bytes of a reply to `m`; none where it is an error."""
    if len(reply) != 2 * size:
        return b""
    try:
        return bytes.fromhex(reply.decode("ascii"))
    except ValueError:
        return b""
