"""Unwinding along back chains: s390x and ppc64, whose frames point to their callers' frames."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from symbols.memory import MemoryFault
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word

_PROBLEM_STATE = 1 << 48  # user mode, in the mask of a program status word
_MOST_SWITCHES = 8


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
    """

    chain: int
    saved_pc: int
    registers_at: int | None
    text: tuple[tuple[int, int], ...] = ()
    roots: Roots = field(default_factory=Roots)

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs = [registers.pc]
        exact: list[int] = []
        try:
            ending = self._walk(registers.sp, word, pcs, exact)
        except MemoryFault:
            ending = Ending.NO_MEMORY
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
                if mask == 0 and pc == 0:
                    return self.roots.ending(pcs[-1])
                exact.append(len(pcs))
                if mask & _PROBLEM_STATE:
                    pcs.append(pc)
                    return Ending.USER
            else:
                pc = word(caller + self.saved_pc)
                if pc == 0 and word(caller + self.chain) == 0 and self.registers_at is None:
                    return self.roots.ending(pcs[-1])
            if caller <= sp:
                switches += 1
            if (
                switches > _MOST_SWITCHES
                or caller == sp
                or not any(start <= pc <= end for start, end in self.text)
            ):
                del exact[bisect_left(exact, len(pcs)) :]
                return Ending.BAD_FRAME
            pcs.append(pc)
            sp = caller
        return Ending.TOO_DEEP


def s390x(text: tuple[tuple[int, int], ...], roots: Roots) -> BackchainUnwinder:
    """The frames of s390x: the pointer in the uppermost word, %r14 two below it."""
    return BackchainUnwinder(152, 136, 168, text, roots)


def ppc64(text: tuple[tuple[int, int], ...], roots: Roots) -> BackchainUnwinder:
    """The frames of ppc64: the pointer in the lowest word, the link register two above it."""
    return BackchainUnwinder(0, 16, None, text, roots)
