"""A guest that is a file: its vcpus and its memory as they were when it was dumped."""

from __future__ import annotations

from pathlib import Path

from gprof.errors import FormatError, ProtocolError
from gprof.guest.architectures import BY_NAME
from gprof.guest.architectures.x86_64 import first_handler
from gprof.guest.core_file import CoreFile, CoreVcpu
from gprof.guest.machine import Sampled
from gprof.guest.mode import Mode
from gprof.guest.registers import Register, RegisterFile
from symbols.memory import Memory
from symbols.paging import PagedMemory, X86Tables, x86_tables


class CoreMachine:
    """What a dump gives access to, as `Machine` does to a running guest.

    Args:
        path: of a dump of `dump-guest-memory`.

    Attributes:
        architecture: of its vcpus.
        memory: the kernel's virtual memory.
        vcpus: by index.

    Raises:
        FormatError: it is no such dump.
    """

    def __init__(self, path: Path) -> None:
        self._file = CoreFile(path)
        self.architecture = BY_NAME[self._file.architecture]
        self.vcpus = self._file.vcpus
        self.memory: Memory = PagedMemory(self._file, *self._tables())

    def fresh_memory(self) -> Memory:
        """The same memory: here nothing changes."""
        return self.memory

    def _tables(self) -> list[X86Tables]:
        found: list[X86Tables] = []
        for vcpu in self.vcpus:
            root, control = vcpu.registers.get("cr3", 0), vcpu.registers.get("cr4", 0)
            if root:
                found += [one for one in x86_tables(root, control) if one not in found]
        if not found:
            raise FormatError(
                f"in {self._file.path} no vcpu has page tables: its guest had not begun to boot",
                "There is nothing to look at in its memory yet.",
            )
        return found

    def sampled(self) -> list[Sampled]:
        """Where each vcpu stood, with the registers for unwinding."""
        return [self._sampled(vcpu) for vcpu in self.vcpus]

    def _sampled(self, vcpu: CoreVcpu) -> Sampled:
        registers, reply = _as_stub(vcpu)
        try:
            state = self.architecture.state(registers, reply, halted=False)
        except ProtocolError:
            return Sampled(vcpu.index, None)
        unwinding = None
        if state.mode is Mode.KERNEL:
            unwinding = self.architecture.unwinding(registers, reply)
        return Sampled(vcpu.index, state, unwinding, reply=reply)

    def values(self, sampled: Sampled) -> dict[str, int]:
        """The general registers of a vcpu by name; see `Machine.values`."""
        registers = self.all_values(sampled)
        return {name: registers[name] for name in self.architecture.general if name in registers}

    def all_values(self, sampled: Sampled) -> dict[str, int]:
        """Every register of a vcpu by name."""
        return self.vcpus[sampled.vcpu].registers

    def monitor(self, _command: str) -> str:
        """Nothing: there is no monitor."""
        return ""

    def register(self, name: str) -> int | None:
        """A register of the first vcpu by name; None where it has none of that name."""
        return self.vcpus[0].registers.get(name)

    def vector(self) -> int | None:
        """Runtime address of `architecture.vector_symbols`; None where it cannot be told."""
        table = self.register("idt_base")
        return first_handler(self.memory, table) if table else None

    def forget(self) -> None:
        """Nothing is kept that could change."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _as_stub(vcpu: CoreVcpu) -> tuple[RegisterFile, bytes]:
    """A vcpu's registers as the stub would have described and sent them."""
    by_name = {
        name: Register(name, number, 64, 8 * number) for number, name in enumerate(vcpu.registers)
    }
    reply = b"".join(
        value.to_bytes(8, "little").hex().encode() for value in vcpu.registers.values()
    )
    return RegisterFile("i386:x86-64", by_name), reply
