"""A model of QEMU's heap with the states of emulated x86-64 vcpus in it."""

from __future__ import annotations

import struct

from gprof.guest.monitor_registers import Reading

_BASE = 0x5555_0000_0000
GENERAL = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
KERNEL = 0xFFFF_FFFF_8100_0000


def registers(vcpu: int) -> dict[str, int]:
    """Those of a vcpu in a Linux kernel."""
    general = {name: KERNEL + 0x10_0000 * vcpu + 64 * i for i, name in enumerate(GENERAL)}
    return general | {
        "pc": KERNEL + 16 * vcpu,
        "cr0": 0x8005_0033,
        "cr3": 0x265_E000 + 0x1000 * vcpu,
        "cr4": 0x6B0,
        "code base": 0,
        "gs base": 0xFFFF_8891_5F40_0000 + (vcpu << 20),
        "gdt base": 0xFFFF_FE00_0000_1000 + 0x3B000 * vcpu,
        "gdt limit": 0x7F,
        "idt base": 0xFFFF_FE00_0000_0000,
        "idt limit": 0xFFF,
        "level": 0,
        "management": 0,
    }


def state(of: dict[str, int]) -> bytes:
    """CPUX86State as far as it is read (target/i386/cpu.h of QEMU 7.2)."""
    hidden = of["level"] | of["management"] << 19 | (of["cr0"] & 1) << 7 | 1 << 15
    found = struct.pack("<16Q", *(of[name] for name in GENERAL))
    found += struct.pack("<Q4QIiII", of["pc"], 0x246, 1, 2, 3, 44, 1, hidden, 5)
    for name in ("es", "code", "ss", "ds", "fs", "gs", "ldt", "tr", "gdt", "idt"):
        base, limit = of.get(f"{name} base", 0), of.get(f"{name} limit", 0)
        found += struct.pack("<I4xQII", 0x10, base, limit, 0xA09B00)
    return found + struct.pack("<5Q", of["cr0"], 0, 0x7F00, of["cr3"], of["cr4"])


class Heap:
    """QEMU's heap with the state of each vcpu, and a monitor that tells of the same.

    Attributes:
        vcpus: what each has in its registers.
        data: the heap's content; made anew by `write`.
    """

    def __init__(self, vcpus: int = 2, size: int = 3 << 20) -> None:
        self.vcpus = {index: registers(index) for index in range(vcpus)}
        self.data = bytearray(size)
        self.places = {index: (1 << 20) - 300 + 0x10_0008 * index for index in range(vcpus)}
        self.places = {index: at & ~7 for index, at in self.places.items()}
        self.write()

    def write(self) -> None:
        for index, of in self.vcpus.items():
            self.store(self.places[index], state(of))

    def store(self, at: int, data: bytes) -> None:
        self.data[at : at + len(data)] = data

    def heap(self) -> list[tuple[int, int]]:
        return [(_BASE, _BASE + len(self.data))]

    def read_own(self, address: int, size: int) -> bytes:
        at = address - _BASE
        return bytes(self.data[at : at + size]) if at >= 0 else b""

    def ask(self) -> dict[int, Reading]:
        return {index: dict(of).get for index, of in self.vcpus.items()}
