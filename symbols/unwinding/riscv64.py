"""Unwinding riscv64: frame pointers, and the registers that exceptions leave on the stack.

A frame pointer points behind two words, the caller's frame pointer and the return address
(arch/riscv/kernel/stacktrace.c). A function that calls nothing saves the frame pointer alone, in
the place of the return address, and one that has just been entered has saved neither: which of
them the innermost one is, the instructions tell. What the entry code calls was called with
registers at its stack pointer (struct pt_regs of arch/riscv/include/asm/ptrace.h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from symbols.memory import Memory, MemoryFault
from symbols.space import AddressSpace
from symbols.unwinding.frame_pointer import FunctionStart
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word

_LONGEST_FUNCTION = 1 << 14
_MOST_REMEMBERED = 1 << 16
_MOST_SWITCHES = 8
_MASK = (1 << 64) - 1

#: struct pt_regs, bytes from its start.
_PC, _LINK, _SP, _FP, _STATUS = 0, 8, 16, 64, 256
_FROM_KERNEL = 1 << 8  # sstatus.SPP

#: The code of arch/riscv/kernel/entry.S that runs with registers at its stack pointer.
_ENTRY = (
    "handle_exception", "ret_from_exception", "ret_from_fork", "ret_from_fork_kernel_asm",
    "ret_from_fork_user_asm",
)  # fmt: skip
#: Of these, the ones where the registers are there from the first instruction on.
_COMPLETE = ("ret_from_exception", "ret_from_fork")


class Made(Enum):
    """What a function has made of its frame where it stands."""

    NOTHING = 0
    WITHOUT_LINK = 1
    WHOLE = 2


class RiscVFrames:
    """What functions have made of their frames, by their instructions.

    Args:
        start_of: finds functions.
        code: the instructions.
    """

    def __init__(self, start_of: FunctionStart, code: Memory) -> None:
        self._start_of = start_of
        self._code = code
        self._known: dict[int, Made] = {}

    def made(self, pc: int) -> Made:
        """Of code of which nothing is known it is the whole: most has made that."""
        if pc not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[pc] = self._look(pc)
        return self._known[pc]

    def _look(self, pc: int) -> Made:
        start = self._start_of(pc)
        if start is None or not 0 <= pc - start <= _LONGEST_FUNCTION:
            return Made.WHOLE
        try:
            code = self._code.read(start, pc - start)
        except MemoryFault:
            return Made.WHOLE
        framed = linked = restored = False
        for one in _instructions(code):
            framed = framed or _points_frame(one)
            linked = linked or _saves_link(one)
            # What follows a jump belongs to another path, which has not gone through here.
            restored = (restored or _restores_link(one)) and not _jumps(one)
        if restored or not framed:
            return Made.NOTHING
        return Made.WHOLE if linked else Made.WITHOUT_LINK


def keeps_frame(code: bytes) -> bool:
    """Whether a function that begins so keeps a frame pointer."""
    return any(_points_frame(one) for one in _instructions(code))


def _instructions(code: bytes) -> Iterator[int]:
    """Instructions of two and four bytes (RISC-V unprivileged specification, 1.5)."""
    at = 0
    while at + 2 <= len(code):
        size = 4 if code[at] & 3 == 3 else 2
        yield int.from_bytes(code[at : at + size], "little")
        at += size


def _points_frame(one: int) -> bool:
    """`addi s0,sp,N`, or C.ADDI4SPN of s0."""
    if one & 3 == 3:
        return one & 0xFFFFF == 0x10413
    return one & 0xE01F == 0 and one != 0


def _saves_link(one: int) -> bool:
    """`sd ra,N(sp)`, or C.SDSP of ra."""
    if one & 3 == 3:
        return one & 0x1FFF07F == 0x113023
    return one & 0xE07F == 0xE006


def _restores_link(one: int) -> bool:
    """`ld ra,N(sp)`, or C.LDSP of ra."""
    if one & 3 == 3:
        return one & 0xFFFFF == 0x13083
    return one & 0xEF83 == 0x6082


def _jumps(one: int) -> bool:
    """`j`, `jr` and `ret`: JAL and JALR that save no link, C.J and C.JR."""
    if one & 3 == 3:
        return one & 0xFFF == 0x06F or one & 0x7FFF == 0x067
    return one & 0xE003 == 0xA001 or (one & 0xF07F == 0x8002 and one != 0x8002)


@dataclass(frozen=True, slots=True)
class RiscV64Unwinder:
    """Follows frame pointers and exceptions.

    Attributes:
        frames: what the innermost function has made of its frame.
        text: runtime ranges of code; a return address outside them ends the walk.
        roots: tell where a stack came from.
        entry: ranges of the code that exceptions enter and leave by.
        complete: of those, where all registers are on the stack from the start.
    """

    frames: RiscVFrames
    text: tuple[tuple[int, int], ...] = ()
    roots: Roots = field(default_factory=Roots)
    entry: tuple[tuple[int, int], ...] = ()
    complete: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(
        cls, space: AddressSpace, frames: RiscVFrames, text: tuple[tuple[int, int], ...]
    ) -> RiscV64Unwinder:
        """That of a guest."""
        entry, complete = (
            tuple((at.symbol.start, at.symbol.end) for name in names for at in space.find(name))
            for names in (_ENTRY, _COMPLETE)
        )
        return cls(frames, text, Roots.of(space), entry, complete)

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs = [registers.pc]
        exact: list[int] = []
        try:
            ending = self._walk(registers, word, pcs, exact)
        except MemoryFault:
            ending = Ending.NO_MEMORY
        if not ending.whole and self.roots.ending(pcs[-1]) is Ending.IDLE:
            ending = Ending.IDLE  # before its first function there is no frame
        return Stack(tuple(pcs), ending, tuple(exact))

    def _walk(self, registers: Registers, word: Word, pcs: list[int], exact: list[int]) -> Ending:
        sp, fp, link = registers.sp, registers.fp, registers.others.get("link")
        interrupted = True
        saved: int | None = sp if _within(registers.pc, self.complete) else None
        switches = 0
        while len(pcs) < MOST_FRAMES:
            if saved is not None:
                pc = word(saved + _PC)
                from_user = not word(saved + _STATUS) & _FROM_KERNEL
                if not from_user and not self._is_code(pc):
                    # A kernel thread begins with registers that were made for it.
                    return Ending.BAD_FRAME if pc else self.roots.ending(pcs[-1])
                exact.append(len(pcs))
                pcs.append(pc)
                if from_user:
                    return Ending.USER
                sp, fp, link = (word(saved + at) for at in (_SP, _FP, _LINK))
                interrupted, saved = True, None
                continue
            made = self.frames.made(pcs[-1]) if interrupted and link is not None else Made.WHOLE
            if made is Made.NOTHING:
                pc = link or 0
            else:
                if fp & 7 or not fp:
                    return Ending.BAD_FRAME
                following, pc = word((fp - 16) & _MASK), word((fp - 8) & _MASK)
                if made is Made.WITHOUT_LINK:
                    following, pc = pc, link or 0
                if fp <= sp:
                    switches += 1
                    if switches > _MOST_SWITCHES:
                        return Ending.BAD_FRAME
                sp, fp = fp, following
            if not self._is_code(pc):
                return Ending.BAD_FRAME
            pcs.append(pc)
            interrupted = False
            if _within(pc, self.entry):
                saved = sp
        return Ending.TOO_DEEP

    def _is_code(self, pc: int) -> bool:
        return any(start <= pc <= end for start, end in self.text)


def _within(pc: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(start <= pc < end for start, end in ranges)
