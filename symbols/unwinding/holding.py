"""Whether a stack that was read from a vcpu while it ran is one that ever was.

Registers and memory are of different moments: a function may have returned in between, and the
words above the stack pointer be another call's. What cannot have changed unseen holds: two
readings of the stack give the same callers, and each return address lies behind a call; the first
one behind a call of the very function that the vcpu was in. Opcodes: Intel SDM volume 2, CALL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from symbols.memory import Memory, MemoryFault
from symbols.unwinding.stack import Ending, Stack

_WRAP = 1 << 64
_DIRECT = 0xE8
_DIRECT_SIZE = 5
#: Sizes of indirect calls: FF /2 with its operand, and a prefix for the registers from r8 on.
_INDIRECT_SIZES = (2, 3, 4, 6, 7, 8)
_LONGEST = 8
_MOST_REMEMBERED = 1 << 16
#: Where a call leads that is no function of its own but leads on to any.
_ANYWHERE = ("__x86_indirect_thunk", "__SCT__", "__fentry__", "ftrace_")


class HeldCalls:
    """Looks at the code before return addresses, and remembers it.

    Args:
        code: the guest's instructions.
        function_at: start and name of the function at a runtime address; None where there is
            none.
    """

    def __init__(self, code: Memory, function_at: Callable[[int], tuple[int, str] | None]) -> None:
        self._code = code
        self._function_at = function_at
        # By return address: None where no call is before it, else where it leads; 0 anywhere.
        self._targets: dict[int, int | None] = {}

    def held(self, first: Stack, second: Stack) -> Stack:
        """The frames that hold of a stack that was read twice; whole only if all of them do.

        Args:
            first: what the first reading gave.
            second: what the second one gave, from the same registers.
        """
        alike = 0
        for one, other in zip(first.pcs, second.pcs, strict=False):
            if one != other:
                break
            alike += 1
        for depth in range(1, alike):
            if depth not in first.exact and not self._calls(first, depth):
                alike = depth
                break
        if alike == len(first.pcs) == len(second.pcs) and first.ending is second.ending:
            return first
        kept = max(alike, 1)
        exact = tuple(place for place in first.exact if place < kept)
        return replace(first, pcs=first.pcs[:kept], ending=Ending.TORN, exact=exact)

    def _calls(self, stack: Stack, depth: int) -> bool:
        """Whether a call is before a return address, for the leaf's caller one of the leaf."""
        target = self._target(stack.pcs[depth])
        if target is None:
            return False
        if depth > 1 or not target:
            return True
        leaf = self._function_at(stack.pcs[0])
        return leaf is not None and leaf[0] == target

    def _target(self, address: int) -> int | None:
        if address not in self._targets:
            if len(self._targets) >= _MOST_REMEMBERED:
                self._targets.clear()
            self._targets[address] = self._look(address)
        return self._targets[address]

    def _look(self, address: int) -> int | None:
        try:
            before = self._code.read((address - _LONGEST) % _WRAP, _LONGEST)
        except MemoryFault:
            return None
        if before[-_DIRECT_SIZE] == _DIRECT:
            distance = int.from_bytes(before[-4:], "little", signed=True)
            called = self._function_at((address + distance) % _WRAP)
            if called is not None:
                return 0 if called[1].startswith(_ANYWHERE) else called[0]
        for size in _INDIRECT_SIZES:
            opcode, operand = before[-size], before[-size + 1]
            if opcode == 0xFF and operand >> 3 & 7 == 2:
                return 0
        return None
