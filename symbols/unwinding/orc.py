"""Unwinding by ORC, as the kernel itself does it (arch/x86/kernel/unwind_orc.c, Linux 6.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from symbols.memory import MemoryFault
from symbols.unwinding.orc_table import Base, Frame, OrcTable
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, Ending, Registers, Stack, Word
from symbols.unwinding.thunks import Thunks

_WRAP = 1 << 64
#: Rules that are remembered by pc; real profiles have some thousand.
_MOST_REMEMBERED = 1 << 16
#: Interrupt, exception, NMI and entry stacks above a task's own.
_MOST_SWITCHES = 8

#: struct pt_regs of x86-64 (arch/x86/include/asm/ptrace.h), bytes from its start.
_SAVED = {"r13": 16, "r10": 56, "rax": 80, "rdx": 96, "rdi": 112}
_SAVED_BP, _SAVED_IP, _SAVED_CS, _SAVED_SP = 32, 128, 136, 152

_REGISTER: dict[int, str] = {
    Base.AX: "rax", Base.DX: "rdx", Base.DI: "rdi", Base.R10: "r10", Base.R13: "r13",
}  # fmt: skip
_NONE: Mapping[str, int] = {}

# Plain integers of this module: looking up a member of an enumeration takes longer than the rest.
_UNDEFINED, _END_OF_STACK = int(Frame.UNDEFINED), int(Frame.END_OF_STACK)
_CALL, _REGS = int(Frame.CALL), int(Frame.REGS)
_PREVIOUS_SP, _BP, _SP = int(Base.PREVIOUS_SP), int(Base.BP), int(Base.SP)

# A rule as plain integers: several times faster than attributes of numpy columns.
_Rule = tuple[int, int, int, int, int, bool]


class OrcUnwinder:
    """Finds callers by the tables of what is loaded.

    Args:
        tables: each with its slide, runtime minus link address modulo 2^64.
        roots: tell where a stack came from.
        thunks: short pieces of code whose rule is that there is none.
    """

    def __init__(
        self,
        tables: Sequence[tuple[OrcTable, int]],
        roots: Roots | None = None,
        thunks: Thunks | None = None,
    ) -> None:
        self._tables = tuple(tables)
        self._roots = roots or Roots()
        self._thunks = thunks or Thunks()
        self._rules: dict[int, _Rule | None] = {}

    def unwind(self, registers: Registers, word: Word) -> Stack:
        """See `Unwinder`."""
        pcs: list[int] = [registers.pc]
        exact_at: list[int] = []
        try:
            ending = self._walk(registers, word, pcs, exact_at)
        except MemoryFault:
            ending = Ending.NO_MEMORY
        return Stack(tuple(pcs), ending, tuple(exact_at))

    def _walk(
        self, registers: Registers, word: Word, pcs: list[int], exact_at: list[int]
    ) -> Ending:
        pc, sp, bp = registers.pc, registers.sp, registers.fp
        exact = True
        others = registers.others
        saved: int | None = None  # where the pt_regs of this frame lie
        switches = 0
        rules = self._rules
        while True:
            at = pc if exact else pc - 1
            try:
                rule = rules[at]
            except KeyError:
                rule = self._rule(at)
            if rule is None:
                return Ending.NO_RULE
            if rule[0] == _UNDEFINED and exact:
                rule = self._thunk_rule(pc) or rule
            frame, cfa_base, cfa_offset, bp_base, bp_offset, exact = rule
            if frame == _CALL and cfa_base == _SP:  # nearly all of them
                cfa = sp + cfa_offset
                next_sp, next_pc = cfa, word(cfa - 8)
                saved, others = None, _NONE
                switch = False
            else:
                if frame <= _END_OF_STACK:
                    if frame == _END_OF_STACK:
                        return self._roots.ending(pc)
                    return Ending.UNDEFINED
                found = self._cfa(rule, (sp, bp), word, saved, others)
                if found is None:
                    return Ending.UNDEFINED
                cfa = found
                switch = True
                if frame == _CALL:
                    next_pc, next_sp = word(cfa - 8), cfa
                    saved, others = None, _NONE
                    switch = cfa_base != _BP
                elif frame == _REGS:
                    next_pc, next_sp = word(cfa + _SAVED_IP), word(cfa + _SAVED_SP)
                    saved, others = cfa, _NONE
                    if word(cfa + _SAVED_CS) & 3:
                        exact_at.append(len(pcs))
                        pcs.append(next_pc)
                        return Ending.USER
                else:  # the five words that the processor itself pushes
                    next_pc, next_sp = word(cfa), word(cfa + 24)
                    saved = None
                    if word(cfa + 8) & 3:
                        exact_at.append(len(pcs))
                        pcs.append(next_pc)
                        return Ending.USER
            if bp_base == _PREVIOUS_SP:
                bp = word(cfa + bp_offset)
            elif bp_base == _BP:
                bp = word(bp + bp_offset)
            elif bp_base:
                return Ending.UNDEFINED
            elif saved is not None:
                bp = word(saved + _SAVED_BP)
            if next_sp <= sp:
                switches += 1
                if not switch or switches > _MOST_SWITCHES:
                    return Ending.BAD_FRAME
            if next_pc == 0:
                return Ending.BAD_FRAME
            if len(pcs) == MOST_FRAMES:
                return Ending.TOO_DEEP
            pc, sp = next_pc, next_sp
            if exact:
                exact_at.append(len(pcs))
            pcs.append(pc)

    @staticmethod
    def _cfa(
        rule: _Rule,
        pointers: tuple[int, int],
        word: Word,
        saved: int | None,
        others: Mapping[str, int],
    ) -> int | None:
        """The stack pointer before the frame was made; None where the rule's register is unknown.

        Args:
            rule: of the frame.
            pointers: rsp and rbp in it.
            word: reads memory.
            saved: where all registers of the frame were saved; None where they were not.
            others: registers of the frame by name.
        """
        (sp, bp), base, offset = pointers, rule[1], rule[2]
        if base == Base.SP:
            cfa = sp + offset
        elif base == Base.BP:
            cfa = bp + offset
        elif base == Base.SP_INDIRECT:
            cfa = word(sp) + offset
        elif base == Base.SP_INDIRECT_INSIDE:
            cfa = word(sp + offset)
        elif base == Base.BP_INDIRECT:
            cfa = word(bp + offset)
        elif (name := _REGISTER.get(base)) is None:
            return None
        elif saved is not None:
            cfa = word(saved + _SAVED[name]) + offset
        elif name in others:
            cfa = others[name] + offset
        else:
            return None
        return cfa % _WRAP

    def _thunk_rule(self, pc: int) -> _Rule | None:
        """The rule for a runtime address in a thunk; None elsewhere."""
        above = self._thunks.above_return(pc)
        return None if above is None else (_CALL, _SP, above + 8, int(Base.UNDEFINED), 0, False)

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
