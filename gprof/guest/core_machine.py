"""A guest that is a file: its vcpus and its memory as they were when it was dumped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gprof.errors import ProtocolError
from gprof.guest.architectures import BY_NAME
from gprof.guest.architectures.s390x import program_check_handler
from gprof.guest.architectures.x86_64 import first_handler
from gprof.guest.core_file import CoreFile
from gprof.guest.core_tables import tables_of
from gprof.guest.core_vcpus import CoreVcpu, vcpus_of
from gprof.guest.entries import Entries
from gprof.guest.machine import Sampled
from gprof.guest.mode import Mode
from gprof.guest.registers import Register, RegisterFile
from symbols.entry_trampoline import Trampoline, find_trampoline
from symbols.memory import Memory, MemoryFault
from symbols.paging import AArch64Tables, PagedMemory
from symbols.slide import Anchor, Method


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
        self.vcpus = vcpus_of(self._file)
        tables, self._told = tables_of(self._file, self.vcpus)
        self._tables = tables
        self._entries = Entries(self.architecture.name)
        self.memory: Memory = PagedMemory(self._file, *tables)

    def fresh_memory(self) -> Memory:
        """The same memory: here nothing changes."""
        return self.memory

    @property
    def physical(self) -> Memory:
        """The guest's RAM."""
        return self._file

    def trampoline(self) -> Trampoline | None:
        """Of aarch64: what user mode has of a kernel that hides itself, where that is mapped."""
        kernels = [one for one in self._tables if isinstance(one, AArch64Tables)]
        return find_trampoline(self._file, kernels[0]) if kernels else None

    def sampled(self) -> list[Sampled]:
        """Where each vcpu stood, with the registers for unwinding."""
        return [self._sampled(vcpu) for vcpu in self.vcpus]

    def _sampled(self, vcpu: CoreVcpu) -> Sampled:
        registers, reply = _as_stub(self._file, vcpu)
        try:
            state = self.architecture.state(registers, reply, halted=False)
        except ProtocolError:
            return Sampled(vcpu.index, None)
        state = self._entries.state(state, registers, self._kept_of(vcpu))
        unwinding = None
        if state.mode is Mode.KERNEL:
            unwinding = self.architecture.unwinding(registers, reply)
            if unwinding is not None:
                unwinding = replace(unwinding, pc=state.pc)
        return Sampled(vcpu.index, state, unwinding, reply=reply)

    def _kept_of(self, vcpu: CoreVcpu) -> list[bytes]:
        """What the hardware has kept in memory of what it interrupted, as a stub would say it."""
        place, prefix = self._entries.lowcore, vcpu.registers.get("prefix")
        if place is None or prefix is None:
            return [b""]
        try:
            return [self._file.read(prefix + place[0], place[1]).hex().encode()]
        except MemoryFault:
            return [b""]

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

    def anchor(self) -> Anchor | None:
        """Where the kernel has a symbol; None where nothing tells."""
        if self._told is not None:
            return Anchor(("_stext",), self._told.symbols["_stext"], Method.VMCOREINFO)
        if self.architecture.name == "s390x":
            prefix = self.register("prefix")
            address = program_check_handler(self._file, prefix) if prefix is not None else None
        else:
            table = self.register("idt_base")
            address = first_handler(self.memory, table) if table else None
        return Anchor(self.architecture.vector_symbols, address) if address else None

    def forget(self) -> None:
        """Nothing is kept that could change."""

    def close(self) -> None:
        """There is nothing to let go of."""


def _as_stub(core: CoreFile, vcpu: CoreVcpu) -> tuple[RegisterFile, bytes]:
    """A vcpu's registers as the stub would have described and sent them."""
    by_name = {
        name: Register(name, number, 64, 8 * number) for number, name in enumerate(vcpu.registers)
    }
    reply = b"".join(
        value.to_bytes(8, core.order).hex().encode() for value in vcpu.registers.values()
    )
    return RegisterFile(core.architecture, by_name, core.order), reply
