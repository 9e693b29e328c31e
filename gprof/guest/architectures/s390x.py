"""s390x as QEMU's stub shows it."""

from __future__ import annotations

from dataclasses import dataclass

from gprof.errors import ProtocolError
from gprof.guest.architectures.architecture import Probe, VcpuState
from gprof.guest.mode import Mode
from gprof.guest.registers import RegisterFile
from symbols.memory import Memory, MemoryFault
from symbols.unwinding.stack import Registers

# Bits of the program status word, counted from the left in z/Architecture Principles of Operation.
_TRANSLATED = 1 << (63 - 5)
_WAIT = 1 << (63 - 14)
_PROBLEM_STATE = 1 << (63 - 15)
_ADDRESSING = 3 << (63 - 32)  # both bits: addresses of 64 bits
#: The bits that must be zero, user mode, and the waiting of an idle vcpu.
_NEVER_IN_KERNEL = 0xB800_00FE_7FFF_FFFF | _PROBLEM_STATE | _WAIT
#: Assigned storage location of the new status word for program checks. Linux keeps it right at
#: absolute address 0 too, where the kernel's own page tables lead: a vcpu has its prefix there.
_PROGRAM_NEW = 0x1D0
_CHAIN, _SAVED_REGISTERS = 152, 168  # see symbols/unwinding/backchain.py
_MOST_FRAMES = 128


def state_of(mask: int, address: int) -> VcpuState:
    """What the two halves of a program status word say."""
    # A vcpu that was never started has a word of zeros.
    if mask & _WAIT or not (mask or address):
        return VcpuState(address, Mode.IDLE)
    if mask & _PROBLEM_STATE:
        return VcpuState(address, Mode.USER)
    return VcpuState(address, Mode.KERNEL if mask & _TRANSLATED else Mode.FIRMWARE)


def program_check_handler(memory: Memory, lowcore: int = 0) -> int | None:
    """Where program checks go, by the new status word in a lowcore.

    Args:
        memory: that has the lowcore.
        lowcore: its address there.
    """
    try:
        word = memory.read(lowcore + _PROGRAM_NEW, 16)
    except MemoryFault:
        return None
    mask, address = (int.from_bytes(word[at : at + 8], "big") for at in (0, 8))
    # Before the kernel has begun, this may be anything.
    of_kernel = mask & _ADDRESSING == _ADDRESSING and not mask & _NEVER_IN_KERNEL
    return address if of_kernel and address else None


@dataclass(frozen=True, slots=True)
class S390X:
    """See `Architecture`. Register names: s390x-core64.xml of QEMU 7.2."""

    name: str = "s390x"
    # Kernel and user space have an address space each: every address may be the kernel's.
    kernel_half: tuple[int, int] = (0, 0xFFFF_FFFF_FFFF_FFFF)
    vector_symbols: tuple[str, ...] = ("pgm_check_handler",)
    general: tuple[str, ...] = ("pswm", "pswa", *(f"r{i}" for i in range(16)))

    def vector(self, probe: Probe) -> int | None:
        """Where program checks go, by the new status word in the lowcore."""
        return program_check_handler(probe.memory)

    def state(self, registers: RegisterFile, reply: bytes, *, halted: bool) -> VcpuState:
        """Read the reply to `g`; see `Architecture.state`."""
        mask, address = registers.value("pswm", reply), registers.value("pswa", reply)
        if mask is None or address is None:
            raise ProtocolError(
                f"the stub's registers of {len(reply) // 2} bytes have no pswm or pswa"
            )
        return VcpuState(address, Mode.IDLE) if halted else state_of(mask, address)

    def stack_pointer(self, registers: RegisterFile, reply: bytes) -> int | None:
        """See `Architecture.stack_pointer`."""
        mask = registers.value("pswm", reply)
        if mask is None or state_of(mask, 0).mode is Mode.USER:
            return None
        return registers.value("r15", reply)

    def unwinding(self, registers: RegisterFile, reply: bytes) -> Registers | None:
        """See `Architecture.unwinding`; frames are chained from the stack pointer."""
        pc, sp = registers.value("pswa", reply), registers.value("r15", reply)
        link = registers.value("r14", reply)
        if pc is None or sp is None:
            return None
        return Registers(pc, sp, sp, {"link": link} if link is not None else {})

    def other_stack(self, fp: int, start: int, chunk: bytes, /) -> int | None:
        """See `Architecture.other_stack`: where the chain of frames leaves the chunk."""

        def word(address: int) -> int:
            at = address - start
            return int.from_bytes(chunk[at : at + 8], "big")

        for _ in range(_MOST_FRAMES):
            if not start <= fp <= start + len(chunk) - _SAVED_REGISTERS:
                return fp if fp and not fp & 7 else None
            following = word(fp + _CHAIN)
            if not following:
                saved = fp + _SAVED_REGISTERS
                if word(saved) & _PROBLEM_STATE or not word(saved + 8):
                    return None
                following = word(saved + 16 + 8 * 15)
            fp = following
        return None
