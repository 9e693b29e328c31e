"""The functions at the bottom of stacks, by which it is told where a stack came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from symbols.kernel_space import UNNAMED_TRAMPOLINE
from symbols.space import AddressSpace
from symbols.unwinding.stack import Ending

#: The first code of the idle task of a vcpu: arch/*/kernel/head*.S.
_IDLE = (
    "secondary_startup_64", "secondary_startup_64_no_verify", "__primary_switched",
    "__secondary_switched", "start_secondary", "rest_init", "smp_callin", "start_kernel",
    "arch_call_rest_init", "smp_start_secondary",
)  # fmt: skip
#: What an exception from user space enters: arch/arm64/kernel/entry-common.c since 5.11, and
#: el0_sync, el0_irq before; arch/s390/kernel/entry.S. Of arm64's entry.S also what comes before
#: it, and the way out, where the registers are the program's.
_USER = (
    "el0t_64_sync", "el0t_64_irq", "el0t_64_fiq", "el0t_64_error",
    "el0t_32_sync", "el0t_32_irq", "el0t_32_fiq", "el0t_32_error", "el0_sync", "el0_irq",
    "vectors", "tramp_vectors", "tramp_exit", "tramp_exit_native", "tramp_exit_compat",
    "ret_to_user",
    "system_call", "pgm_check_handler", "ext_int_handler", "io_int_handler", "mcck_int_handler",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roots:
    """Ranges of runtime addresses, each the first one and the one after the last.

    Attributes:
        idle: functions that idle tasks begin in.
        user: functions that user space enters the kernel through.
    """

    idle: tuple[tuple[int, int], ...] = ()
    user: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, space: AddressSpace) -> Roots:
        """Those that a guest has."""
        unnamed = tuple(
            (one.start, one.end) for one in space.loaded() if one.name == UNNAMED_TRAMPOLINE
        )
        return cls(_ranges(space, _IDLE), _ranges(space, _USER) + unnamed)

    def ending(self, pc: int) -> Ending:
        """How a stack ended whose last pc, exact or a return address, is this one."""
        # A call that never returns may be the last instruction of its function.
        for ranges, ending in ((self.idle, Ending.IDLE), (self.user, Ending.USER)):
            if any(start <= pc <= end for start, end in ranges):
                return ending
        return Ending.START

    def enters(self, pc: int) -> bool:
        """Whether a pc is in a function that user space enters the kernel through."""
        return any(start <= pc < end for start, end in self.user)


def _ranges(space: AddressSpace, names: Iterable[str]) -> tuple[tuple[int, int], ...]:
    found = [at.symbol for name in names for at in space.find(name)]
    return tuple((symbol.start, symbol.end) for symbol in found)
