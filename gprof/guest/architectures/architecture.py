"""What every architecture has to say about a vcpu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.memory import Memory
from symbols.unwinding.stack import Registers


@dataclass(frozen=True, slots=True)
class VcpuState:
    """Where a vcpu stood.

    Attributes:
        pc: linear address of the next instruction.
        mode: what it was doing, as far as its registers tell.
    """

    pc: int
    mode: Mode


class Probe(Protocol):
    """Ways to ask a machine what its registers in `g` do not tell."""

    @property
    def memory(self) -> Memory:
        """The kernel's virtual memory."""
        ...

    def monitor(self, command: str) -> str:
        """The output of a monitor command; empty where there is no monitor."""
        ...

    def register(self, name: str) -> int | None:
        """A register of the first vcpu by name; None where it has none of that name."""
        ...


class Architecture(Protocol):
    """One architecture's reading of registers."""

    @property
    def name(self) -> str:
        """As the kernel names it: `x86_64`, `aarch64`."""
        ...

    @property
    def kernel_half(self) -> tuple[int, int]:
        """First and last address that belong to the kernel of Linux, inclusive."""
        ...

    @property
    def general(self) -> tuple[str, ...]:
        """Names of the registers that a person wants to see, in the usual order."""
        ...

    @property
    def vector_symbols(self) -> tuple[str, ...]:
        """Names of the symbol that `vector` gives the address of, in order of preference."""
        ...

    def vector(self, probe: Probe) -> int | None:
        """Runtime address of the first of `vector_symbols`, by what the hardware knows of it."""
        ...

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`.

        Raises:
            ProtocolError: the reply has no pc.
        """
        ...

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """The kernel's stack that a vcpu is on, by the reply to `g`; None in user space.

        The guest waits for this: no more of the reply is read than it takes.
        """
        ...

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """The registers that a stack is unwound from, in the reply to `g`; None if not in it."""
        ...

    def other_stack(self, fp: int, start: int, chunk: bytes, /) -> int | None:
        """Where the stack goes on that lies below the one a vcpu is on: an interrupt's has one.

        Args:
            fp: frame pointer of the vcpu.
            start: address of the chunk, at or below the stack pointer.
            chunk: the stack from there on, up to its end where that was near.
        """
        ...
