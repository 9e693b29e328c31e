"""Unwinding by ORC on stacks made by hand, and on anything at all."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from symbols.memory import BytesMemory
from symbols.unwinding.orc import OrcUnwinder
from symbols.unwinding.orc_table import Base, Frame, OrcTable
from symbols.unwinding.roots import Roots
from symbols.unwinding.stack import MOST_FRAMES, CapturedWords, Ending, Registers, words_of
from symbols.unwinding.thunks import Thunks
from tests.unit.symbols.unwinding.orc_tables import SLOTS, TEXT, Entry, encoded

CODE = TEXT[0]
STACK = 0xFFFF_C900_0000_0000
IRQ_STACK = 0xFFFF_C900_0010_0000
LEAF, SAVES_BP, BY_BP, SWITCH, REGS, PARTIAL, THREAD, HOLE, LAST = (
    CODE + 0x100 * i for i in range(9)
)
TABLE = OrcTable.parse(
    *encoded(
        [
            Entry(LEAF, Frame.CALL, Base.SP, 8),
            Entry(SAVES_BP, Frame.CALL, Base.SP, 16, Base.PREVIOUS_SP, -16),
            Entry(BY_BP, Frame.CALL, Base.BP, 16, Base.PREVIOUS_SP, -16),
            Entry(SWITCH, Frame.CALL, Base.SP_INDIRECT, 8),
            Entry(REGS, Frame.REGS, Base.SP, 0, interrupted=True),
            Entry(PARTIAL, Frame.REGS_PARTIAL, Base.SP, 0, interrupted=True),
            Entry(THREAD, Frame.END_OF_STACK, Base.UNDEFINED),
            Entry(HOLE, Frame.UNDEFINED, Base.UNDEFINED),
            Entry(LAST, Frame.CALL, Base.R10, 0),
        ],
        3,
    ),
    SLOTS,
    TEXT,
)
SLIDE = 0x1C00_0000
UNWINDER = OrcUnwinder([(TABLE, 0)])


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values)


def pt_regs(ip: int, sp: int, *, cs: int = 0x10, bp: int = 0, r10: int = 0) -> bytes:
    saved = [0] * 21
    saved[4], saved[7], saved[16], saved[17], saved[19] = bp, r10, ip, cs, sp
    return words(*saved)


def unwind(registers: Registers, *chunks: tuple[int, bytes]) -> tuple[list[int], Ending]:
    stack = UNWINDER.unwind(registers, CapturedWords(chunks))
    return list(stack.pcs), stack.ending


def test_calls_are_followed_to_where_the_task_begins() -> None:
    stack = words(SAVES_BP + 5, 0xB9, LEAF + 9, THREAD + 1)
    pcs, ending = unwind(Registers(LEAF, STACK, 0), (STACK, stack))
    assert pcs == [LEAF, SAVES_BP + 5, LEAF + 9, THREAD + 1]
    assert ending is Ending.START


def test_rbp_is_restored_before_it_is_counted_from() -> None:
    frame = STACK + 32
    stack = words(SAVES_BP + 5, frame, BY_BP + 4, 0, 0, THREAD + 1)
    pcs, ending = unwind(Registers(LEAF, STACK, 0xDEAD), (STACK, stack))
    assert pcs == [LEAF, SAVES_BP + 5, BY_BP + 4, THREAD + 1]
    assert ending is Ending.START


def test_an_interrupt_stack_leads_to_the_one_below() -> None:
    irq = words(SWITCH + 3, STACK)
    task = words(0x0, LEAF + 1, THREAD + 1)
    # At the switch the uppermost word points to the task's stack: eight bytes below the caller.
    pcs, ending = unwind(Registers(LEAF, IRQ_STACK, 0), (IRQ_STACK, irq), (STACK, task))
    assert pcs[:2] == [LEAF, SWITCH + 3]
    assert ending is Ending.BAD_FRAME  # its return address is the zero word
    task = words(LEAF + 1, THREAD + 1)
    pcs, ending = unwind(Registers(LEAF, IRQ_STACK, 0), (IRQ_STACK, irq), (STACK, task))
    assert pcs == [LEAF, SWITCH + 3, LEAF + 1, THREAD + 1]
    assert ending is Ending.START


def test_an_interrupted_frame_is_looked_up_at_its_own_pc() -> None:
    # The interrupted pc is the first of a function: the byte before has another rule.
    stack = pt_regs(SAVES_BP, STACK + 0xA8) + words(0, THREAD + 1)
    found = UNWINDER.unwind(Registers(REGS, STACK, 0), CapturedWords([(STACK, stack)]))
    assert found.pcs == (REGS, SAVES_BP, THREAD + 1)
    assert found.exact == (1,)
    assert found.after == (REGS, SAVES_BP + 1, THREAD + 1)


def test_registers_behind_an_interrupt_are_those_that_were_saved() -> None:
    stack = pt_regs(LAST, STACK + 0xA8, r10=STACK + 0xB0) + words(THREAD + 1)
    pcs, ending = unwind(Registers(REGS, STACK, 0, {"r10": 0}), (STACK, stack))
    assert (pcs, ending) == ([REGS, LAST, THREAD + 1], Ending.START)
    pcs, ending = unwind(Registers(LAST, STACK, 0, {"r10": STACK + 8}), (STACK, words(THREAD + 1)))
    assert (pcs, ending) == ([LAST, THREAD + 1], Ending.START)


@pytest.mark.parametrize(
    ("pc", "frame"),
    [(REGS, pt_regs(0x401000, 0x7FFF_0000, cs=0x33)), (PARTIAL, words(0x401000, 0x33, 0, 0, 0))],
)
def test_user_space_is_the_last_frame(pc: int, frame: bytes) -> None:
    found = UNWINDER.unwind(Registers(pc, STACK, 0), CapturedWords([(STACK, frame)]))
    assert found.pcs == (pc, 0x401000)
    assert (found.ending, found.exact) == (Ending.USER, (1,))


def test_idle_tasks_are_told_by_where_they_begin() -> None:
    unwinder = OrcUnwinder([(TABLE, SLIDE)], Roots(idle=((THREAD + SLIDE, HOLE + SLIDE),)))
    found = unwinder.unwind(
        Registers(LEAF + SLIDE, STACK, 0), CapturedWords([(STACK, words(THREAD + 1 + SLIDE))])
    )
    assert found.pcs == (LEAF + SLIDE, THREAD + 1 + SLIDE)
    assert found.ending is Ending.IDLE


@pytest.mark.parametrize(
    ("stack", "ending"),
    [
        (words(), Ending.NO_MEMORY),
        (words(HOLE + 1), Ending.UNDEFINED),
        (words(0x1234), Ending.NO_RULE),
        (words(0), Ending.BAD_FRAME),
        (words(LAST + 1), Ending.UNDEFINED),  # of a caller r10 is not known
        (words(*[LEAF + 1] * (MOST_FRAMES + 2)), Ending.TOO_DEEP),
    ],
)
def test_a_stack_that_is_cut_says_why(stack: bytes, ending: Ending) -> None:
    pcs, found = unwind(Registers(LEAF, STACK, 0), (STACK, stack))
    assert found is ending
    assert len(pcs) <= MOST_FRAMES
    assert not ending.whole
    assert ending.sentence.startswith("cut")


def test_a_loop_is_refused() -> None:
    stack = words(SWITCH + 1, STACK - 8)
    pcs, ending = unwind(Registers(LEAF, STACK, 0), (STACK - 8, words(0) + stack))
    assert ending is Ending.BAD_FRAME
    assert len(pcs) < 20


ADDRESSES = st.one_of(
    st.integers(STACK - 8, STACK + 600),
    st.sampled_from([LEAF, SAVES_BP, BY_BP, SWITCH, REGS, PARTIAL, HOLE, LAST, THREAD]),
    st.integers(CODE, CODE + 0x900),
    st.integers(0, 2**64 - 1),
)


@settings(max_examples=300)
@given(
    st.tuples(ADDRESSES, ADDRESSES, ADDRESSES),
    st.dictionaries(st.sampled_from(["r10", "r13", "rax", "rdi", "rdx"]), ADDRESSES),
    st.lists(ADDRESSES, max_size=64),
)
def test_whatever_memory_holds_there_is_an_end(
    registers: tuple[int, int, int], others: dict[str, int], memory: list[int]
) -> None:
    chunk = (STACK, words(*memory))
    start = Registers(*registers, others)
    found = UNWINDER.unwind(start, CapturedWords([chunk]))
    assert found == UNWINDER.unwind(start, words_of(BytesMemory([chunk])))
    assert found.pcs[0] == start.pc
    assert 1 <= len(found.pcs) <= MOST_FRAMES + 1
    assert isinstance(found.ending, Ending)
    assert all(0 < place < len(found.pcs) for place in found.exact)
    assert len(found.after) == len(found.pcs)


@pytest.mark.parametrize(("into", "above"), [(0, 0), (3, 0), (5, 1), (6, 1), (10, 1)])
def test_an_indirect_call_is_unwound_where_its_thunk_is(into: int, above: int) -> None:
    # The thunk's own `call` has put one word above the return address once it is executed.
    stack = words(*[HOLE + 5] * above, LEAF + 9, THREAD + 1)
    unwinder = OrcUnwinder([(TABLE, 0)], thunks=Thunks((HOLE,), (HOLE + 32,)))
    found = unwinder.unwind(Registers(HOLE + into, STACK, 0), CapturedWords([(STACK, stack)]))
    assert found.pcs == (HOLE + into, LEAF + 9, THREAD + 1)
    assert found.ending is Ending.START


def test_beside_its_thunks_code_without_a_rule_stays_so() -> None:
    unwinder = OrcUnwinder([(TABLE, 0)], thunks=Thunks((HOLE,), (HOLE + 32,)))
    for pc in (HOLE + 32, HOLE + 0x80):
        found = unwinder.unwind(Registers(pc, STACK, 0), CapturedWords([(STACK, bytes(64))]))
        assert found.pcs == (pc,)
        assert found.ending is Ending.UNDEFINED
