"""The stacks of vcpus that run on, out of QEMU's own memory, each read twice."""

from __future__ import annotations

from gprof.guest.architectures import Architecture
from gprof.guest.monitor_registers import Reading, x86_64
from gprof.guest.stack_reader import STACK_SIZE
from symbols.memory import Memory, MemoryFault
from symbols.paging import PagedMemory, PageTables
from symbols.unwinding.stack import Registers

_PAGE = 1 << 12

#: Address and bytes of each piece.
Pieces = tuple[tuple[int, bytes], ...]


class RunningStacks:
    """Reads stacks of x86-64, where QEMU's memory can be read.

    Args:
        architecture: of the guest.
        physical: the guest's RAM, as it is now.
        most: bytes of a stack to read at most.
    """

    def __init__(self, architecture: Architecture, physical: Memory, most: int) -> None:
        self._architecture = architecture
        self._physical = physical
        self._most = min(most, STACK_SIZE)

    def read(
        self, read: Reading, tables: list[PageTables]
    ) -> tuple[Registers, Pieces, Pieces] | None:
        """The registers of a vcpu in the kernel, and its stack twice.

        Args:
            read: the registers of the vcpu.
            tables: the roots of its page tables, of the same moment.

        Returns:
            None where a register is missing, or the stack cannot be read.
        """
        registers = x86_64.unwinding(read)
        if registers is None:
            return None
        memory = PagedMemory(self._physical, *tables)
        first = self._pieces(memory, registers)
        return (registers, first, self._pieces(memory, registers)) if first else None

    def _pieces(self, memory: Memory, registers: Registers) -> Pieces:
        chunk = self._chunk(memory, registers.sp)
        if chunk is None:
            return ()
        below = self._architecture.other_stack(registers.fp, *chunk)
        other = self._chunk(memory, below) if below is not None else None
        return (chunk, other) if other is not None else (chunk,)

    def _chunk(self, memory: Memory, pointer: int) -> tuple[int, bytes] | None:
        """From a stack pointer on to where the stack, or what is mapped, ends."""
        start = pointer & ~7
        end = min((start & -STACK_SIZE) + STACK_SIZE, start + self._most)
        found = bytearray()
        at = start
        while at < end:
            size = min(_PAGE - at % _PAGE, end - at)
            try:
                found += memory.read(at, size)
            except MemoryFault:
                break
            at += size
        return (start, bytes(found)) if found else None
