"""Samples on the first instruction of an exception's handler belong to what was interrupted.

An emulated vcpu looks for interrupts where it also looks for our stop. So it takes the interrupt
that came meanwhile, and stands where the hardware goes first, in half of all samples of some
guests. Nothing was executed there yet, and the hardware keeps where it came from. It is asked for
with the registers; under KVM, where a stop and an interrupt do not meet, nothing is asked.

On x86-64 the unwinder finds out by the frame that the processor has pushed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gprof.guest.architectures import VcpuState
from gprof.guest.architectures.aarch64 import mode_of as aarch64_mode
from gprof.guest.architectures.s390x import state_of as s390x_state
from gprof.guest.mode import Mode
from gprof.guest.registers import Register, RegisterFile

_STATUS_FROM_KERNEL = 1 << 8  # sstatus.SPP (RISC-V privileged specification, 4.1.1)
_RISCV_MODES = {0: Mode.USER, 1: Mode.KERNEL, 3: Mode.FIRMWARE}
#: AArch64: sixteen handlers of 128 bytes (Arm ARM, D1.3.1, vector tables).
_VECTORS, _VECTOR = 0x800, 0x80
#: s390x: status words in the lowcore, of external, supervisor-call, program, machine-check and
#: input/output interruptions (Principles of Operation, assigned storage locations).
_OLD_WORDS, _NEW_WORDS, _AFTER_WORDS = 0x130, 0x1B0, 0x200
#: Linux has the last instruction on its way out there too (return_lpswe of struct lowcore): LPSWE
#: of a word further down. By then all else is as it will be.
_WAYS_OUT, _END = (0x400, 0x404), 0x408
_LPSWE = b"\xb2\xb2"


def _aarch64(state: VcpuState, values: Mapping[str, int], _lowcore: bytes) -> VcpuState:
    # QEMU up to 7.2 names the base of the vectors without the level.
    base = values.get("VBAR_EL1", values.get("VBAR"))
    link, status = values.get("ELR_EL1"), values.get("SPSR_EL1")
    if not base or link is None or status is None:
        return state
    into = state.pc - base
    if not 0 <= into < _VECTORS or into % _VECTOR:
        return state
    return VcpuState(link, aarch64_mode(status))


def _riscv64(state: VcpuState, values: Mapping[str, int], _lowcore: bytes) -> VcpuState:
    vector, link = values.get("stvec"), values.get("sepc")
    status = values.get("sstatus")
    if vector and link is not None and status is not None and state.pc == vector & ~3:
        return VcpuState(link, Mode.KERNEL if status & _STATUS_FROM_KERNEL else Mode.USER)
    mode = _RISCV_MODES.get(values.get("priv", -1))
    return state if mode is None else VcpuState(state.pc, mode)


def _s390x(state: VcpuState, _values: Mapping[str, int], lowcore: bytes) -> VcpuState:
    if len(lowcore) != _END - _OLD_WORDS:
        return state

    def word(address: int) -> int:
        at = address - _OLD_WORDS
        return int.from_bytes(lowcore[at : at + 8], "big")

    for new in range(_NEW_WORDS, _AFTER_WORDS, 16):
        if word(new + 8) == state.pc:
            old = new - _NEW_WORDS + _OLD_WORDS
            return s390x_state(word(old), word(old + 8))
    if state.pc in _WAYS_OUT:
        way = lowcore[state.pc - _OLD_WORDS :][:4]
        to = int.from_bytes(way[2:], "big")  # the displacement; no base register, which is 0
        if way[:2] == _LPSWE and _OLD_WORDS <= to < _END - 16:
            return s390x_state(word(to), word(to + 8))
    return state


@dataclass(frozen=True, slots=True)
class _Kept:
    """What an architecture keeps of what was interrupted.

    Attributes:
        registers: names of those that tell, not in the reply to `g`.
        memory: address and size of what else tells.
        state: makes a vcpu's state out of the one seen and those two.
    """

    registers: tuple[str, ...]
    memory: tuple[int, int] | None
    state: Callable[[VcpuState, Mapping[str, int], bytes], VcpuState]


_BY_ARCHITECTURE = {
    "aarch64": _Kept(("VBAR_EL1", "VBAR", "ELR_EL1", "SPSR_EL1"), None, _aarch64),
    "riscv64": _Kept(("stvec", "sepc", "sstatus", "priv"), None, _riscv64),
    "s390x": _Kept((), (_OLD_WORDS, _END - _OLD_WORDS), _s390x),
}


class Entries:
    """Questions for where vcpus were interrupted, and what their answers mean.

    Args:
        architecture: of the guest, as the kernel names it.
    """

    def __init__(self, architecture: str) -> None:
        self._kept = _BY_ARCHITECTURE.get(architecture)

    @property
    def lowcore(self) -> tuple[int, int] | None:
        """Address and size, in its lowcore, of what a vcpu of s390x is asked for."""
        return self._kept.memory if self._kept is not None else None

    def questions(self, registers: RegisterFile) -> list[bytes]:
        """What to ask of a vcpu that was chosen (`Hg`)."""
        asked = [b"p%x" % register.number for register in self._beyond(registers)]
        if self._kept is not None and self._kept.memory is not None:
            asked.append(b"m%x,%x" % self._kept.memory)
        return asked

    def count(self, registers: RegisterFile) -> int:
        """How many questions there are for a vcpu with these registers."""
        return len(self.questions(registers))

    def state(
        self, seen: VcpuState, registers: RegisterFile, answers: Sequence[bytes]
    ) -> VcpuState:
        """Where a vcpu stood before it was interrupted; `seen` where it was not.

        Args:
            seen: what its registers say.
            registers: of it.
            answers: to `questions`.
        """
        if self._kept is None or seen.mode is Mode.IDLE:
            return seen
        values = {}
        for register, answer in zip(self._beyond(registers), answers, strict=False):
            value = registers.parse(register, answer)
            if value is not None:
                values[register.name] = value
        lowcore = b""
        if self._kept.memory is not None and len(answers[-1]) == 2 * self._kept.memory[1]:
            try:
                lowcore = bytes.fromhex(answers[-1].decode("ascii"))
            except ValueError:
                lowcore = b""
        return self._kept.state(seen, values, lowcore)

    def _beyond(self, registers: RegisterFile) -> list[Register]:
        names = self._kept.registers if self._kept is not None else ()
        return [registers.by_name[name] for name in names if name in registers.by_name]
