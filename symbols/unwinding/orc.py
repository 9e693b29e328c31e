"""Unwinding by ORC, as the kernel itself does it (arch/x86/kernel/unwind_orc.c, Linux 6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from symbols.memory import MemoryFault
from symbols.unwinding.orc_table import Base, Frame, OrcTable
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word

_WRAP = 1 << 64
_MASK = _WRAP - 1
#: Rules that are remembered by pc; real profiles have some thousand.
_MOST_REMEMBERED = 1 << 16
#: Interrupt, exception, NMI and entry stacks above a task's own.
_MOST_SWITCHES = 8

#: struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h), bytes from its start.
_SAVED = {"r13": 16, "r10": 56, "rax": 80, "rdx": 96, "rdi": 112}
_SAVED_BP, _SAVED_IP, _SAVED_CS, _SAVED_SP = 32, 128, 136, 152

_REGISTER = {Base.AX: "rax", Base.DX: "rdx", Base.DI: "rdi", Base.R10: "r10", Base.R13: "r13"}

# A rule as plain integers: several times faster than attributes of numpy columns.
_Rule = tuple[int, int, int, int, int, bool]


class OrcUnwinder:
    """Finds callers by the tables of what is loaded.

    Args:
        tables: each with its slide, runtime minus link address modulo 2^64.
        idle_roots: runtime ranges, first address and the one after the last, of the functions
            that the idle tasks begin in.
    """

    def __init__(
        self,
        tables: Sequence[tuple[OrcTable, int]],
        idle_roots: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._tables = tuple(tables)
        self._idle_roots = tuple(idle_roots)
        self._rules: dict[int, _Rule | None] = {}

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs = [registers.pc]
        try:
            ending = self._walk(registers, word, pcs)
        except MemoryFault:
            ending = Ending.NO_MEMORY
        return Stack(tuple(pcs), ending)

    def _walk(self, registers: Registers, word: Word, pcs: list[int]) -> Ending:
        pc, sp, bp = registers.pc, registers.sp, registers.fp
        exact = True
        others = dict(registers.others)
        saved: int | None = None  # where the pt_regs of this frame lie
        switches = 0
        rules = self._rules
        while True:
            at = pc if exact else pc - 1
            rule = rules[at] if at in rules else self._rule(at)
            if rule is None:
                return Ending.NO_RULE
            frame, cfa_base, cfa_offset, bp_base, bp_offset, exact = rule
            if frame == Frame.END_OF_STACK:
                idle = any(start <= pc <= end for start, end in self._idle_roots)
                return Ending.IDLE if idle else Ending.START
            if frame == Frame.UNDEFINED:
                return Ending.UNDEFINED
            switch = False
            if cfa_base == Base.SP:
                cfa = sp + cfa_offset
            elif cfa_base == Base.BP:
                cfa = bp + cfa_offset
            elif cfa_base == Base.SP_INDIRECT:
                cfa, switch = word(sp) + cfa_offset, True
            elif cfa_base == Base.SP_INDIRECT_INSIDE:
                cfa, switch = word(sp + cfa_offset), True
            elif cfa_base == Base.BP_INDIRECT:
                cfa, switch = word(bp + cfa_offset), True
            else:
                name = _REGISTER.get(Base(cfa_base), "")
                if saved is not None and name:
                    cfa = word(saved + _SAVED[name]) + cfa_offset
                elif name in others:
                    cfa = others[name] + cfa_offset
                else:
                    return Ending.UNDEFINED
                switch = True
            cfa &= _MASK
            if frame == Frame.CALL:
                next_pc = word(cfa - 8)
                next_sp = cfa
                saved = None
            elif frame == Frame.REGS:
                next_pc, next_sp = word(cfa + _SAVED_IP), word(cfa + _SAVED_SP)
                saved, switch = cfa, True
                if word(cfa + _SAVED_CS) & 3:
                    pcs.append(next_pc)
                    return Ending.USER
            else:  # the five words that the processor itself pushes
                next_pc, next_sp = word(cfa), word(cfa + 24)
                saved, switch = None, True
                if word(cfa + 8) & 3:
                    pcs.append(next_pc)
                    return Ending.USER
            if bp_base == Base.PREVIOUS_SP:
                bp = word(cfa + bp_offset)
            elif bp_base == Base.BP:
                bp = word(bp + bp_offset)
            elif bp_base != Base.UNDEFINED:
                return Ending.UNDEFINED
            elif saved is not None:
                bp = word(saved + _SAVED_BP)
            if frame != Frame.REGS_PARTIAL:
                others = {}  # they are the callee's
            if switch:
                switches += next_sp <= sp
                if switches > _MOST_SWITCHES:
                    return Ending.BAD_FRAME
            elif next_sp <= sp:
                return Ending.BAD_FRAME
            if next_pc == 0:
                return Ending.BAD_FRAME
            if len(pcs) == MOST_FRAMES:
                return Ending.TOO_DEEP
            pc, sp = next_pc, next_sp
            pcs.append(pc)

    def _rule(self, pc: int) -> _Rule | None:
        """The rule for a runtime address, remembered."""
        found: _Rule | None = None
        for table, slide in self._tables:
            index = table.index((pc - slide) % _WRAP)
            if index >= 0:
                found = (
                    int(table.frame[index]),
                    int(table.cfa_base[index]),
                    int(table.cfa_offset[index]),
                    int(table.bp_base[index]),
                    int(table.bp_offset[index]),
                    bool(table.interrupted[index]),
                )
                break
        if len(self._rules) >= _MOST_REMEMBERED:
            self._rules.clear()
        self._rules[pc] = found
        return found
