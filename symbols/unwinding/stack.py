"""What unwinding starts from, and what it gives: frames, and why there are no more."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol, TypeAlias

from symbols.memory import Memory, MemoryFault

#: No stack has more frames; the kernel's own tracer keeps 64 (PERF_MAX_STACK_DEPTH: 127).
MOST_FRAMES = 128

#: The 64-bit word at an address; raises MemoryFault where it is not known.
Word: TypeAlias = Callable[[int], int]


class Ending(IntEnum):
    """Why a stack has no further frames. The first three are whole stacks."""

    USER = 1
    START = 2
    IDLE = 3
    NO_MEMORY = 4
    NO_RULE = 5
    UNDEFINED = 6
    BAD_FRAME = 7
    TOO_DEEP = 8
    TORN = 9

    @property
    def whole(self) -> bool:
        """Nothing is missing: it goes down to user space or to where a task begins."""
        return self <= Ending.IDLE

    @property
    def sentence(self) -> str:
        """The reason as shown to people."""
        return _SENTENCES[self]


_SENTENCES = {
    Ending.USER: "entered from user space",
    Ending.START: "begins here: a kernel thread, or code that enters the kernel",
    Ending.IDLE: "begins here: the idle task",
    Ending.NO_MEMORY: "cut: the stack goes on where its memory was not read",
    Ending.NO_RULE: "cut: no unwind table covers the code",
    Ending.UNDEFINED: "cut: the unwind table says nothing of this code",
    Ending.BAD_FRAME: "cut: a frame makes no sense",
    Ending.TOO_DEEP: f"cut: more than {MOST_FRAMES} frames",
    Ending.TORN: "cut: it changed while it was read",
}


@dataclass(frozen=True, slots=True)
class Registers:
    """The registers that unwinding starts from.

    Attributes:
        pc: of the next instruction.
        sp: the stack pointer.
        fp: the frame pointer (rbp, x29, s0); the stack pointer where there is none.
        others: by the architecture's name, those that some rule may need: `r10`, `r13`, `rdi`,
            `rdx`, `rax` of x86-64, the return address as `link` of aarch64 and riscv64.
    """

    pc: int
    sp: int
    fp: int
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stack:
    """Frames of one vcpu.

    Attributes:
        pcs: leaf first. Each is a return address, but the first and those in `exact`.
        ending: why there are no more.
        exact: places in `pcs` of frames that did not call but were interrupted, the one of user
            space included: there the next instruction has not begun.
    """

    pcs: tuple[int, ...]
    ending: Ending
    exact: tuple[int, ...] = ()

    @property
    def after(self) -> tuple[int, ...]:
        """The leaf's pc, then for each frame the address after the one it was at.

        Of a return address that is itself, since the call before it was at work; of an exact pc
        it is one more. So who wants to know where a caller was takes the byte before, always.
        """
        pcs = list(self.pcs)
        for place in self.exact:
            if place:
                pcs[place] = min(pcs[place] + 1, (1 << 64) - 1)
        return tuple(pcs)


class Unwinder(Protocol):
    """One way to find callers. Never raises, whatever the registers and the memory hold."""

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """The stack of a vcpu that stood in the kernel."""
        ...


class CapturedWords:
    """The words of a few captured chunks, fast.

    Args:
        chunks: address and bytes of each; a word lies in one of them.
        big_endian: the byte order of the guest.
    """

    __slots__ = ("_chunks", "_unpack")

    def __init__(self, chunks: Iterable[tuple[int, bytes]], *, big_endian: bool = False) -> None:
        self._chunks = [(start, start + len(data) - 8, data) for start, data in chunks]
        self._unpack = struct.Struct(">Q" if big_endian else "<Q").unpack_from

    def __call__(self, address: int) -> int:
        """See `Word`."""
        for start, last, data in self._chunks:
            if start <= address <= last:
                value: int = self._unpack(data, address - start)[0]
                return value
        raise MemoryFault(address, 8)


def words_of(memory: Memory, *, big_endian: bool = False) -> Word:
    """The words of any memory."""
    order = struct.Struct(">Q" if big_endian else "<Q")

    def word(address: int) -> int:
        if not 0 <= address <= (1 << 64) - 8:
            raise MemoryFault(address, 8)
        value: int = order.unpack(memory.read(address, 8))[0]
        return value

    return word
