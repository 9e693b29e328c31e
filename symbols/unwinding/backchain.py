"""Unwinding along back chains: s390x and ppc64, whose frames point to their callers' frames.

A function of s390x that calls nothing, or has just been entered, has its return address in a
register, and may have a frame all the same. The instructions tell.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from symbols.memory import Memory, MemoryFault
from symbols.unwinding.frame_pointer import FunctionStart
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word

_PROBLEM_STATE = 1 << 48  # user mode, in the mask of a program status word
_MOST_SWITCHES = 8
_LONGEST_FUNCTION = 1 << 14
_MOST_REMEMBERED = 1 << 16
#: Bytes of an instruction of s390x, by its first two bits (Principles of Operation, chapter 5).
_LENGTHS = (2, 4, 4, 6)


class S390xFrames:
    """What a function of s390x has made of its frame where it stands.

    Args:
        start_of: finds functions.
        code: the instructions.
    """

    def __init__(self, start_of: FunctionStart, code: Memory) -> None:
        self._start_of = start_of
        self._code = code
        self._known: dict[int, int | None] = {}

    def without_link(self, pc: int) -> int | None:
        """Bytes of a frame without a return address, 0 where there is no frame yet or any more.

        None where the frame has one, as of every function that calls, or where nothing is known.
        """
        if pc not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[pc] = self._look(pc)
        return self._known[pc]

    def _look(self, pc: int) -> int | None:
        start = self._start_of(pc)
        if start is None or not 0 <= pc - start <= _LONGEST_FUNCTION:
            return None
        try:
            code = self._code.read(start, pc - start)
        except MemoryFault:
            return None
        taken = at = 0
        linked = restored = False
        while at < len(code):
            size = _LENGTHS[code[at] >> 6]
            one = code[at : at + size]
            taken += _taken(one)
            linked = linked or _saves_link(one)
            # What follows an epilogue belongs to another path, but for the jump right behind it.
            restored = _restores(one)
            at += size
        if restored or not taken:
            return 0
        return None if linked else taken


def _saves_link(one: bytes) -> bool:
    """`stmg %rX,%rY,…(%r15)` of a range with %r14, `stg %r14,136(%r15)`."""
    if len(one) != 6 or one[5] != 0x24 or one[2] >> 4 != 0xF:
        return False
    if one[0] == 0xEB:
        return one[1] >> 4 <= 14 <= one[1] & 0xF
    return one[:4] == b"\xe3\xe0\xf0\x88"


def _taken(one: bytes) -> int:
    """Bytes that `lay %r15,-N(%r15)`, `aghi %r15,-N` or `agfi %r15,-N` take from the stack."""
    if one[:2] == b"\xe3\xf0" and one[5:] == b"\x71" and one[2] >> 4 == 0xF:
        # A displacement of 20 bits, the upper eight last.
        low = (one[2] & 0xF) << 8 | one[3]
        moved = int.from_bytes(one[4:5], "big", signed=True) * 4096 + low
    elif one[:2] in {b"\xa7\xfb", b"\xc2\xf8"}:
        moved = int.from_bytes(one[2:], "big", signed=True)
    else:
        return 0
    return max(-moved, 0)


def _restores(one: bytes) -> bool:
    """`lmg %rX,%r15,…`, `lg %r15,…`."""
    if len(one) != 6 or one[5] != 0x04:
        return False
    return (one[0] == 0xEB and one[1] & 0xF == 0xF) or one[:2] == b"\xe3\xf0"


@dataclass(frozen=True, slots=True)
class BackchainUnwinder:
    """Follows back chains.

    The layouts are those of arch/s390/include/asm/stacktrace.h (a kernel built with
    -mpacked-stack) and of the ELF ABI for 64-bit PowerPC.

    Attributes:
        chain: bytes from a stack pointer to the word that points to the caller's frame.
        saved_pc: bytes from there, in the caller's frame, to the return address.
        registers_at: bytes from a stack pointer with an empty chain to saved registers: status
            mask, address, general registers; None where an empty chain is the end.
        text: runtime ranges of code.
        roots: tell where a stack came from.
        frames: of functions that may have none; None where all have one.
    """

    chain: int
    saved_pc: int
    registers_at: int | None
    text: tuple[tuple[int, int], ...] = ()
    roots: Roots = field(default_factory=Roots)
    frames: S390xFrames | None = None

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs = [registers.pc]
        exact: list[int] = []
        try:
            sp = self._past_leaf(registers.sp, registers.others.get("link"), pcs)
            ending = self._walk(sp, word, pcs, exact)
        except MemoryFault:
            ending = Ending.NO_MEMORY
        if len(pcs) == 1 and self.roots.enters(registers.pc) and not ending.whole:
            ending = Ending.USER  # it has not switched stacks yet, or has again
        return Stack(tuple(pcs), ending, tuple(exact))

    def _walk(self, sp: int, word: Word, pcs: list[int], exact: list[int]) -> Ending:
        switches = 0
        while len(pcs) < MOST_FRAMES:
            caller = word(sp + self.chain)
            if caller == 0:
                if self.registers_at is None:
                    return self.roots.ending(pcs[-1])
                saved = sp + self.registers_at
                mask, pc, caller = word(saved), word(saved + 8), word(saved + 16 + 8 * 15)
                # A kernel thread begins with registers that were made for it, without a stack.
                if (mask == 0 and pc == 0) or (caller == 0 and not mask & _PROBLEM_STATE):
                    return self.roots.ending(pcs[-1])
                exact.append(len(pcs))
                if mask & _PROBLEM_STATE:
                    pcs.append(pc)
                    return Ending.USER
                link = word(saved + 16 + 8 * 14)
            else:
                link = None
                pc = word(caller + self.saved_pc)
                if pc == 0 and word(caller + self.chain) == 0 and self.registers_at is None:
                    return self.roots.ending(pcs[-1])
            if caller <= sp:
                switches += 1
            if switches > _MOST_SWITCHES or caller == sp or not self._is_code(pc):
                del exact[bisect_left(exact, len(pcs)) :]
                return Ending.BAD_FRAME
            pcs.append(pc)
            sp = self._past_leaf(caller, link, pcs)
        return Ending.TOO_DEEP

    def _past_leaf(self, sp: int, link: int | None, pcs: list[int]) -> int:
        """The stack pointer behind a function without a link; adds its caller.

        Args:
            sp: the stack pointer of the last of `pcs`.
            link: its return address; None of one that has called.
            pcs: the frames up to here.
        """
        if link is None or self.frames is None or self.roots.enters(pcs[-1]):
            return sp
        taken = self.frames.without_link(pcs[-1])
        if taken is None or not self._is_code(link):
            return sp
        pcs.append(link)
        return sp + taken

    def _is_code(self, pc: int) -> bool:
        return any(start <= pc <= end for start, end in self.text)


def s390x(
    text: tuple[tuple[int, int], ...], roots: Roots, frames: S390xFrames
) -> BackchainUnwinder:
    """The frames of s390x: the pointer in the uppermost word, %r14 two below it."""
    return BackchainUnwinder(152, 136, 168, text, roots, frames)


def ppc64(text: tuple[tuple[int, int], ...], roots: Roots) -> BackchainUnwinder:
    """The frames of ppc64: the pointer in the lowest word, the link register two above it."""
    return BackchainUnwinder(0, 16, None, text, roots)
