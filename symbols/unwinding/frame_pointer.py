"""Unwinding along frame pointers: x86-64 code that keeps them, and aarch64.

A frame pointer points to two words, the caller's frame pointer and the return address (the
kernel's arch/*/kernel/stacktrace.c). A function that has just been entered has not made its frame
yet; on aarch64 one that calls nothing never does. There the frame pointer is still the caller's,
and one frame would be lost. The instructions tell: see `_Prologue`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from symbols.memory import Memory, MemoryFault
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word

#: The start of the function that holds an address; None where that is not known.
FunctionStart: TypeAlias = Callable[[int], int | None]

_MOST_SWITCHES = 8
#: struct pt_regs of x86-64, bytes from its start.
_SAVED_BP, _SAVED_IP, _SAVED_CS = 32, 128, 136
#: The longest stack of a kernel: further apart two frames are on different stacks.
_SAME_STACK = 64 << 10
_MASK = (1 << 64) - 1


class _Prologue(Protocol):
    """Where the caller of the innermost function is, when it has no frame yet or no more."""

    def caller(self, registers: Registers, word: Word) -> int | None:
        """The return address, or None where the function has made its frame."""
        ...


@dataclass(frozen=True, slots=True)
class X86Prologue:
    """`push %rbp; mov %rsp, %rbp` at the start (after an `endbr64`), `pop %rbp; … ret` at the end.

    Attributes:
        start_of: finds functions; of a pc in none nothing is known.
        code: the instructions.
    """

    start_of: FunctionStart
    code: Memory

    def caller(self, registers: Registers, word: Word) -> int | None:
        """See `_Prologue`."""
        start = self.start_of(registers.pc)
        if start is None:
            return None
        into = registers.pc - start
        head = _read(self.code, start, 8)
        skipped = 4 if head.startswith(b"\xf3\x0f\x1e\xfa") else 0  # endbr64
        if into <= skipped or _read(self.code, registers.pc, 1) == b"\xc3":  # ret
            return word(registers.sp)
        if into == skipped + 1 and head[skipped : skipped + 1] == b"\x55":  # push %rbp is done
            return word(registers.sp + 8)
        return None


@dataclass(frozen=True, slots=True)
class LinkPrologue:
    """aarch64: the link register holds the return address until `stp x29, x30`.

    Attributes:
        start_of: finds functions.
        code: the instructions.
        strip: takes a signature out of a code address.
    """

    start_of: FunctionStart
    code: Memory
    strip: Callable[[int], int]

    def caller(self, registers: Registers, word: Word) -> int | None:  # noqa: ARG002
        """See `_Prologue`. Instructions: Arm ARM, C6.2, STP and LDP (64-bit), RET."""
        link = registers.others.get("link")
        start = self.start_of(registers.pc)
        if link is None or start is None or registers.pc - start > 1 << 14:
            return None
        code = _read(self.code, start, registers.pc - start + 4)
        words = struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])
        if not words or start + 4 * len(words) <= registers.pc:
            return None
        *before, here = words
        # ret, or autiasp before it: x30 has been loaded again.
        saved = any(one & 0xFE407FFF == 0xA8007BFD for one in before)
        if saved and here not in {0xD65F03C0, 0xD50323BF, 0xD50323FF}:
            return None
        return self.strip(link)


@dataclass(frozen=True, slots=True)
class FramePointerUnwinder:
    """Follows frame pointers.

    Attributes:
        text: runtime ranges of code; a return address outside them ends the walk.
        roots: tell where a stack came from.
        prologue: for the innermost frame; None where nothing is known of it.
        strip: takes a signature out of a code address.
        encoded: a frame pointer with bit 0 set points to saved registers instead
            (ENCODE_FRAME_POINTER of arch/x86/include/asm/frame.h).
    """

    text: tuple[tuple[int, int], ...] = ()
    roots: Roots = field(default_factory=Roots)
    prologue: _Prologue | None = None
    strip: Callable[[int], int] = lambda pc: pc
    encoded: bool = False

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs = [registers.pc]
        exact: list[int] = []
        try:
            ending = self._walk(registers, word, pcs, exact)
        except MemoryFault:
            ending = Ending.NO_MEMORY
        if len(pcs) == 1 and self.roots.enters(registers.pc) and not ending.whole:
            ending = Ending.USER  # the frame pointer is user space's still, or again
        return Stack(tuple(pcs), ending, tuple(exact))

    def _walk(self, registers: Registers, word: Word, pcs: list[int], exact: list[int]) -> Ending:
        fp = registers.fp
        # What user space enters has no caller, whatever it keeps in the link register.
        if self.prologue is not None and not self.roots.enters(registers.pc):
            caller = self.prologue.caller(registers, word)
            if caller is not None:
                if not self._is_code(caller):
                    return Ending.BAD_FRAME
                pcs.append(caller)
        low = registers.sp
        switches = 0
        while len(pcs) < MOST_FRAMES:
            if fp == 0:
                return self.roots.ending(pcs[-1])
            if self.encoded and fp & 1:
                pc = word((fp & ~1) + _SAVED_IP)
                exact.append(len(pcs))
                pcs.append(pc)
                if word((fp & ~1) + _SAVED_CS) & 3:
                    return Ending.USER
                low, fp = fp & ~1, word((fp & ~1) + _SAVED_BP)
                continue
            if fp & 7:
                return Ending.BAD_FRAME
            if not low <= fp <= low + _SAME_STACK:
                switches += 1
                if switches > _MOST_SWITCHES:
                    return Ending.BAD_FRAME
            next_fp, pc = word(fp), self.strip(word((fp + 8) & _MASK))
            if pc == 0 and next_fp == 0:
                return self.roots.ending(pcs[-1])
            if not self._is_code(pc):
                return Ending.BAD_FRAME
            pcs.append(pc)
            low, fp = fp + 8, next_fp
        return Ending.TOO_DEEP

    def _is_code(self, pc: int) -> bool:
        return any(start <= pc <= end for start, end in self.text)


def strip_signature(address: int) -> int:
    """A code address of aarch64 without the signature of pointer authentication.

    The bits between the address and bit 55 are copies of bit 55. Which are the address depends
    on the size of the space; 48 bits are right for the kernel's own text with 52 too, since
    Linux keeps that in the uppermost 256 TiB.
    """
    high = 0xFFFF_0000_0000_0000
    return address | high if address >> 55 & 1 else address & ~high


def _read(code: Memory, address: int, size: int) -> bytes:
    """Some code, or nothing."""
    try:
        return code.read(address, size)
    except MemoryFault:
        return b""
