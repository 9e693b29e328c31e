"""How the call stacks of a guest are taken and unwound, as far as it is known."""

from __future__ import annotations

from collections.abc import Callable

from gprof.attach import Attached
from gprof.guest.core_machine import CoreMachine
from gprof.guest.machine import Machine
from gprof.guest.monitored import MonitoredMachine
from gprof.guest.stack_reader import STACK_SIZE
from gprof.profile.stacks import StackTable
from gprof.sampling.gathering import Unstacking
from symbols.memory import Memory
from symbols.space import AddressSpace
from symbols.unwinding.holding import HeldCalls
from symbols.unwinding.stack import Stack
from symbols.unwinding.unwind import Unwinding, Way, choose

#: Without an operating system nothing is known of a stack's size; most are shallow.
_SMALL_STACK = 2048


def unwinding_of(
    attached: Attached, way: Way, machine: Machine | MonitoredMachine | CoreMachine | None = None
) -> Unwinding:
    """How a guest's call stacks are unwound.

    Args:
        attached: the guest.
        way: what is asked for.
        machine: what the stacks are taken through; None for what samples are.

    Raises:
        UnwindError: what was asked for does not work with this guest.
    """
    machine = machine or attached.machine
    if isinstance(machine, MonitoredMachine) and way is not Way.NONE:
        why = machine.why_no_stacks
        if why is None and way is Way.AUTO:
            # Of a guest that runs on, many are torn: who wants those that hold says so.
            why = "through the monitor only those that hold, with --call-graph orc or fp"
        if why is not None:
            return Unwinding(None, "none", f"{why}; --gdb takes them")
    return choose(
        way,
        attached.guest.architecture,
        attached.space,
        image=attached.sources.image,
        slide=attached.slide.offset if attached.slide else 0,
        memory=attached.memory,
    )


def unstacking_of(
    attached: Attached, way: Way, stacks: StackTable
) -> tuple[Unstacking | None, Unwinding]:
    """What a source needs to number the stacks in a table; None where it takes none.

    Raises:
        UnwindError: see `unwinding_of`.
    """
    chosen = unwinding_of(attached, way)
    if chosen.unwinder is None:
        return None, chosen
    runs_on = isinstance(attached.machine, MonitoredMachine)
    return (
        Unstacking(
            chosen.unwinder,
            chosen.way,
            stacks.add,
            most_stack(attached),
            big_endian=attached.big_endian,
            held=_held(attached.memory, attached.space) if runs_on else None,
        ),
        chosen,
    )


def said_of(unwinding: Unwinding, *, asked: bool) -> str:
    """What a person must know of the call stacks; empty where everything is as expected."""
    if unwinding.unwinder is None and asked:
        return f"No call stacks: {unwinding.why}."
    return f"Call {unwinding.missing}." if unwinding.missing else ""


def most_stack(attached: Attached) -> int:
    """Bytes of a stack that are worth reading."""
    return STACK_SIZE if attached.sources.runs_linux else _SMALL_STACK


def _held(memory: Memory, space: AddressSpace) -> Callable[[Stack, Stack], Stack]:
    """Tells what holds of a stack that was read while its vcpu ran."""

    def function_at(pc: int) -> tuple[int, str] | None:
        at = space.symbol_at(pc)
        return (at.symbol.start, at.symbol.name) if at is not None else None

    return HeldCalls(memory, function_at).held
