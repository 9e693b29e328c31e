"""Which task each vcpu runs, asked in the write that asks for its registers.

Most architectures keep the pointer to the task in memory, at an address that depends on a
register. The guest does not wait for us to learn that register: it hardly ever changes (it tells
where a vcpu has its own data), so the place is foretold by the last sample. Where the registers
say otherwise the answer is dropped, and the next sample knows better.

On s390x that is the lowcore, which a vcpu in user mode does not see: it is read in physical memory,
at the prefix of the vcpu. QEMU 7.2 shows no prefix of an emulated one, 10.0 does; without it the
kernel's list of lowcores tells, in which cpus are in QEMU's order. On aarch64 it is read in
physical memory where the kernel hides itself from programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gprof.guest.greeting import Vcpu
from gprof.guest.registers import Register, RegisterFile
from gprof.guest.rsp import is_error
from gprof.guest.translated_memory import PHYSICAL, VIRTUAL
from symbols.memory import MemoryFault
from symbols.tasks import CurrentPlaces, current_task

_POINTER = 8
#: Registers that say where the pointer is: those in the reply to `g`, and those beyond it.
_IN_REPLY = {"x86_64": ("gs_base", "k_gs_base"), "riscv64": ("tp",)}
_ASKED = {
    "aarch64": ("TPIDR_EL1", "TPIDR_EL2"),
    "s390x": ("prefix",),
    "riscv64": ("sscratch",),
}
#: Without `__entry_task`, that of the kernel itself alone.
_AARCH64_WITHOUT_ENTRY = ("SP_EL0",)
#: The pointer is in a register.
_WITHOUT_MEMORY = {"riscv64"}
_NONE: Mapping[int, int] = MappingProxyType({})


class CurrentTasks:
    """Questions for the tasks of vcpus, and what their answers mean.

    Args:
        architecture: of the guest, as the kernel names it.
        places: of its kernel.
        prefixes: s390x: physical address of each vcpu's lowcore, as far as known.
        hidden: aarch64: physical place of each pointer, by address, where user mode sees none.
    """

    def __init__(
        self,
        architecture: str,
        places: CurrentPlaces,
        prefixes: Mapping[int, int] = _NONE,
        hidden: Mapping[int, int] = _NONE,
    ) -> None:
        self._architecture = architecture
        self._places = places
        self._prefixes = prefixes
        self._hidden = hidden
        self._in_reply = _IN_REPLY.get(architecture, ())
        self._asked = _ASKED.get(architecture, ())
        if architecture == "aarch64" and places.entry_task is None:
            self._asked = _AARCH64_WITHOUT_ENTRY
        self._reads = architecture not in _WITHOUT_MEMORY
        self._foretold: dict[int, int] = {}  # by vcpu
        self._read_at: dict[int, int] = {}

    def questions(self, vcpu: Vcpu, registers: RegisterFile) -> list[bytes]:
        """What to ask of a vcpu that was chosen (`Hg`)."""
        asked = [b"p%x" % register.number for register in self._beyond(registers)]
        if self._reads:
            at = self._read_at[vcpu.index] = self._foretold.get(vcpu.index, 0)
            read = b"m%x,%x" % (self._hidden.get(at, at), _POINTER)
            asked += [PHYSICAL, read, VIRTUAL] if self._physical(registers) else [read]
        return asked

    def count(self, registers: RegisterFile) -> int:
        """How many questions there are for a vcpu with these registers, each time."""
        reads = 3 if self._physical(registers) else 1
        return len(self._beyond(registers)) + (reads if self._reads else 0)

    def pointer(
        self,
        vcpu: Vcpu,
        registers: RegisterFile,
        reply: bytes,
        answers: Sequence[bytes],
        *,
        user: bool,
    ) -> int:
        """Address of the task's structure; 0 where it cannot be told.

        Args:
            vcpu: whom was asked.
            registers: of it.
            reply: to `g`.
            answers: to `questions`.
            user: the vcpu was in user mode.
        """
        values = {name: registers.value(name, reply) for name in self._in_reply}
        for register, answer in zip(self._beyond(registers), answers, strict=False):
            values[register.name] = registers.parse(register, answer)
        known = {name: value for name, value in values.items() if value is not None}
        digits = answers[-1] if self._reads else b""
        if self._physical(registers):
            if "prefix" not in known and vcpu.index in self._prefixes:
                known["prefix"] = self._prefixes[vcpu.index]
            told = bool(self._hidden) or "prefix" in known
            if not told or answers[-3] != b"OK":
                return 0
            digits = answers[-2]
            if self._hidden and self._read_at.get(vcpu.index) not in self._hidden:
                digits = b""  # what was read there is something else
        word = _Word(self._read_at.get(vcpu.index, 0), digits)
        found = current_task(self._architecture, known, word, self._places, user=user)
        if word.wanted is not None:
            self._foretold[vcpu.index] = word.wanted
        return found or 0

    def _physical(self, registers: RegisterFile) -> bool:
        """Whether the pointer is read in physical memory, and not as the vcpu sees it."""
        if self._hidden:
            return True
        if self._architecture != "s390x":
            return False
        return bool(self._prefixes) or "prefix" in registers.by_name

    def _beyond(self, registers: RegisterFile) -> list[Register]:
        return [registers.by_name[name] for name in self._asked if name in registers.by_name]


class _Word:
    """The one word of memory that was asked for; remembers which should have been."""

    def __init__(self, address: int, digits: bytes) -> None:
        self._address = address
        self._digits = digits
        self.wanted: int | None = None

    def read(self, address: int, size: int) -> bytes:
        """See `symbols.memory.Memory.read`."""
        self.wanted = address
        if address != self._address or is_error(self._digits) or len(self._digits) != 2 * size:
            raise MemoryFault(address, size)
        try:
            return bytes.fromhex(self._digits.decode("ascii"))
        except ValueError:
            raise MemoryFault(address, size) from None
