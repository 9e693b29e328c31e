"""What every vcpu of a guest does at one instant: registers, mode, and the stack by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gprof.attach import Attached
from gprof.errors import UsageError
from gprof.guest.machine import Machine, Sampled
from gprof.guest.mode import Mode
from gprof.guest.stack_reader import StackReader
from gprof.profile.profile import Guest
from symbols.names import printable
from symbols.space import AddressSpace
from symbols.unwinding.stack import CapturedWords, Ending, Stack
from symbols.unwinding.unwind import Unwinding, Way

#: Registers on one line of text.
_IN_A_LINE = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame.

    Attributes:
        address: of the next instruction, or the one to return to.
        name: the function; empty where it has none.
        offset: of the address from the function's start.
        module: the image that it is in; empty where in none.
    """

    address: int
    name: str
    offset: int
    module: str

    @property
    def text(self) -> str:
        """As it is shown."""
        if not self.name:
            return f"{self.address:#x}" + (f" [{self.module.strip('[]')}]" if self.module else "")
        module = f" [{self.module}]" if self.module not in {"", "[kernel]"} else ""
        return f"{self.name}+{self.offset:#x}{module}"


@dataclass(frozen=True, slots=True)
class VcpuDump:
    """One vcpu.

    Attributes:
        index: its number.
        mode: what it was doing; None where the stub could not tell.
        registers: the general ones by name.
        frames: leaf first.
        ending: why there are no more; None where its stack was not unwound.
    """

    index: int
    mode: Mode | None
    registers: dict[str, int]
    frames: tuple[Frame, ...]
    ending: Ending | None


@dataclass(frozen=True, slots=True)
class Dump:
    """All vcpus at one instant.

    Attributes:
        guest: whom they are of.
        stopped: somebody else had stopped the guest, and it still stands.
        unwound_by: `orc`, `fp` or `backchain`; empty where its stacks were not unwound.
        why: what that was chosen by, or why there is no way.
        vcpus: by index.
    """

    guest: Guest
    stopped: bool
    unwound_by: str
    why: str
    vcpus: tuple[VcpuDump, ...]

    def lines(self) -> Iterator[str]:
        """For people."""
        state = "stopped by somebody else, and left so" if self.stopped else "running"
        known = ", ".join(filter(None, (self.guest.architecture, self.guest.kernel)))
        yield f"{printable(self.guest.name)} ({printable(known)}): {state}"
        how = f"stacks by {self.unwound_by}" if self.unwound_by else "no stacks"
        yield printable(f"{how}: {self.why}")
        for vcpu in self.vcpus:
            yield ""
            yield f"vcpu {vcpu.index}  {vcpu.mode.label if vcpu.mode is not None else 'unknown'}"
            named = [f"{name:>6} {value:016x}" for name, value in vcpu.registers.items()]
            for at in range(0, len(named), _IN_A_LINE):
                yield "  " + "  ".join(named[at : at + _IN_A_LINE])
            for number, frame in enumerate(vcpu.frames):
                yield f"  #{number:<3} {printable(frame.text)}"
            if vcpu.ending is not None:
                yield f"       {vcpu.ending.sentence}"

    def content(self) -> dict[str, Any]:
        """For programs; members may be added, never renamed."""
        return {
            "guest": printable(self.guest.name),
            "architecture": self.guest.architecture,
            "kernel": printable(self.guest.kernel),
            "stopped": self.stopped,
            "unwound_by": self.unwound_by or None,
            "why": printable(self.why),
            "vcpus": [
                {
                    "vcpu": vcpu.index,
                    "mode": vcpu.mode.label if vcpu.mode is not None else None,
                    "registers": {name: f"{value:#x}" for name, value in vcpu.registers.items()},
                    "frames": [
                        {
                            "address": f"{frame.address:#x}",
                            "symbol": printable(frame.name) or None,
                            "offset": frame.offset,
                            "module": printable(frame.module) or None,
                        }
                        for frame in vcpu.frames
                    ],
                    "ending": vcpu.ending.name.lower() if vcpu.ending is not None else None,
                    "whole": vcpu.ending.whole if vcpu.ending is not None else None,
                }
                for vcpu in self.vcpus
            ],
        }


def take(attached: Attached, way: Way = Way.AUTO) -> Dump:
    """Look at every vcpu in one stop; a guest that was found stopped stays so.

    Raises:
        TargetError: the guest went away.
        UsageError: there is only a monitor.
        UnwindError: its stacks cannot be unwound in the way that was asked for.
    """
    unwinding = attached.unwinding(way)
    machine = attached.machine
    if not isinstance(machine, Machine):
        raise UsageError(
            "the monitor alone does not give every register at one instant",
            "Give the guest's gdbstub with --gdb.",
        )
    _, sampled = StackReader(machine, patient=True).sample(machine.vcpus)
    return Dump(
        attached.guest,
        machine.stub.held,
        unwinding.way if unwinding.unwinder is not None else "",
        unwinding.why,
        tuple(_vcpu(attached, machine, unwinding, one) for one in sampled),
    )


def _vcpu(attached: Attached, machine: Machine, unwinding: Unwinding, one: Sampled) -> VcpuDump:
    if one.state is None:
        return VcpuDump(one.vcpu, None, {}, (), None)
    stack = Stack((one.state.pc,), Ending.USER)
    unwound = one.registers is not None and unwinding.unwinder is not None
    if one.registers is not None and unwinding.unwinder is not None:
        stack = unwinding.unwinder.unwind(one.registers, CapturedWords(one.memory))
    user = one.state.mode is Mode.USER
    return VcpuDump(
        one.vcpu,
        one.state.mode,
        machine.values(one),
        tuple(_frames(attached.space, stack)),
        stack.ending if unwound or user else None,
    )


def _frames(space: AddressSpace, stack: Stack) -> Iterator[Frame]:
    for number, (pc, after) in enumerate(zip(stack.pcs, stack.after, strict=True)):
        at = space.symbol_at(after - 1 if number and after else pc)
        image = space.image_at(pc)
        if at is None:
            yield Frame(pc, "", 0, image.name if image is not None else "")
        else:
            yield Frame(pc, at.symbol.name, pc - at.symbol.start, at.image.name)
