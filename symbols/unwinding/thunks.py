"""Retpolines: where the caller of an indirect call is while it goes through one.

arch/x86/lib/retpoline.S has no unwinding rules for them (UNWIND_HINT_UNDEFINED), since they play
with the stack; but they are short. At its start a thunk finds the return address of the indirect
call on the stack. Its `call` puts a word above that, which `mov` replaces by the target and `ret`
takes away. The other variants, `lfence; jmp` and `jmp`, leave the stack alone, and what they
execute is no longer than that `call`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from symbols.space import AddressSpace

_REGISTERS = (
    "array", "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
#: The plain ones, and those of call depth tracking (Linux 6.2).
_KINDS = ("", "call_", "jump_")
#: Bytes of `call`: whoever is behind it has executed it.
_CALL = 5


@dataclass(frozen=True, slots=True)
class Thunks:
    """The thunks of a kernel.

    Attributes:
        starts: runtime address of each, ascending.
        ends: the one after its last, of each.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    @classmethod
    def of(cls, space: AddressSpace) -> Thunks:
        """Those that a guest has; none on other architectures than x86-64."""
        names = [f"__x86_indirect_{kind}thunk_{name}" for kind in _KINDS for name in _REGISTERS]
        found = sorted(
            {(at.symbol.start, at.symbol.end) for name in names for at in space.find(name)}
        )
        return cls(tuple(start for start, _ in found), tuple(end for _, end in found))

    def above_return(self, pc: int) -> int | None:
        """Bytes from the stack pointer to the return address; None of a pc in no thunk."""
        at = bisect_right(self.starts, pc) - 1
        if at < 0 or pc >= self.ends[at]:
            return None
        return 8 if pc - self.starts[at] >= _CALL else 0
