"""What holds of a stack that was read while its vcpu ran."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symbols.memory import BytesMemory
from symbols.unwinding.holding import HeldCalls
from symbols.unwinding.stack import Ending, Stack

TEXT = 0xFFFF_FFFF_8100_0000
STARTS = {"leaf": TEXT, "middle": TEXT + 0x100, "root": TEXT + 0x200, "thunk": TEXT + 0x300}
NAMES = {start: name for name, start in STARTS.items()} | {
    STARTS["thunk"]: "__x86_indirect_thunk_rax"
}
#: Where middle and root go on after their calls.
IN_MIDDLE, IN_ROOT = STARTS["middle"] + 0x20, STARTS["root"] + 0x20


def function_at(pc: int) -> tuple[int, str] | None:
    start = pc & ~0xFF
    return (start, NAMES[start]) if start in NAMES else None


def direct(at: int, target: int) -> tuple[int, bytes]:
    """A call whose return address is `at`."""
    return at - 5, b"\xe8" + struct.pack("<i", target - at)


def held(*calls: tuple[int, bytes]) -> HeldCalls:
    code = bytearray(b"\x90" * 0x400)
    for at, data in calls:
        code[at - TEXT : at - TEXT + len(data)] = data
    return HeldCalls(BytesMemory([(TEXT, bytes(code))]), function_at)


GOOD = Stack((STARTS["leaf"] + 8, IN_MIDDLE, IN_ROOT), Ending.START)
CALLS = (direct(IN_MIDDLE, STARTS["leaf"]), direct(IN_ROOT, STARTS["middle"]))


def test_a_stack_that_is_the_same_twice_behind_its_calls_is_whole() -> None:
    assert held(*CALLS).held(GOOD, GOOD) == GOOD


def test_what_changed_between_the_readings_does_not_hold() -> None:
    other = Stack((*GOOD.pcs[:2], IN_ROOT + 0x40), Ending.START)
    found = held(*CALLS).held(GOOD, other)
    assert (found.pcs, found.ending) == (GOOD.pcs[:2], Ending.TORN)
    assert not found.ending.whole
    longer = Stack((*GOOD.pcs, IN_ROOT), Ending.START)
    assert held(*CALLS).held(GOOD, longer).ending is Ending.TORN
    cut = Stack(GOOD.pcs, Ending.NO_MEMORY)
    assert held(*CALLS).held(GOOD, cut).ending is Ending.TORN


def test_the_leaf_must_be_what_its_caller_calls() -> None:
    # The vcpu was in a function that has returned: middle now calls another one.
    found = held(direct(IN_MIDDLE, STARTS["root"]), CALLS[1]).held(GOOD, GOOD)
    assert (found.pcs, found.ending) == (GOOD.pcs[:1], Ending.TORN)


def test_a_return_address_without_a_call_before_it_does_not_hold() -> None:
    found = held(CALLS[0]).held(GOOD, GOOD)
    assert (found.pcs, found.ending) == (GOOD.pcs[:2], Ending.TORN)
    nothing = HeldCalls(BytesMemory([]), function_at)
    assert nothing.held(GOOD, GOOD).pcs == GOOD.pcs[:1]


@pytest.mark.parametrize(
    "call",
    [
        "ffd0", "41ffd3", "ff5308", "ff542408", "ff1500000000", "ff9300010000",
        "ff94240001000000"[:14], "41ff942400010000"[:16],
    ],
)  # fmt: skip
def test_indirect_calls_lead_anywhere(call: str) -> None:
    code = bytes.fromhex(call)
    assert held((IN_MIDDLE - len(code), code), CALLS[1]).held(GOOD, GOOD) == GOOD
    thunk = direct(IN_MIDDLE, STARTS["thunk"])
    assert held(thunk, CALLS[1]).held(GOOD, GOOD) == GOOD


def test_interrupted_frames_have_no_call_before_them() -> None:
    stack = Stack((STARTS["leaf"], IN_ROOT + 0x33, IN_ROOT), Ending.USER, exact=(1,))
    found = held(direct(IN_ROOT, STARTS["root"])).held(stack, stack)
    assert found == stack
    torn = held().held(stack, stack)
    assert (torn.pcs, torn.exact) == (stack.pcs[:2], (1,))


@given(
    st.lists(st.integers(TEXT - 16, TEXT + 0x410), min_size=1, max_size=6),
    st.lists(st.integers(TEXT - 16, TEXT + 0x410), min_size=1, max_size=6),
    st.binary(min_size=0x400, max_size=0x400),
)
def test_whatever_is_read_what_holds_is_a_part_of_it(
    first: list[int], second: list[int], code: bytes
) -> None:
    checks = HeldCalls(BytesMemory([(TEXT, code)]), function_at)
    one = Stack(tuple(first), Ending.USER)
    found = checks.held(one, Stack(tuple(second), Ending.USER))
    assert one.pcs[: len(found.pcs)] == found.pcs
    assert found.pcs
    assert found.ending.whole == (found == one and first == second)
