"""Call stacks by drgn, from the very registers and memory that ours were made of: an oracle.

drgn unwinds by other tables than we do (DWARF), and knows the structures of the kernel by itself.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from symbols.elf import Image
from symbols.memory import Memory, MemoryFault


@dataclass(frozen=True, slots=True)
class _Platform:
    """What drgn has to be told of an architecture.

    Attributes:
        name: of drgn's `Architecture`.
        root: symbol of the kernel's page tables.
        images: above this are the kernel's image and its modules, which do not change as stacks
            do.
        kernel: the first address that is not user space's.
        registers: makes the members of `struct pt_regs` of a vcpu's registers.
        described: further lines of VMCOREINFO.
    """

    name: str
    root: str
    images: int
    kernel: int
    registers: Callable[[Mapping[str, int]], dict[str, Any]]
    described: str = ""


def _x86_64(values: Mapping[str, int]) -> dict[str, Any]:
    # struct pt_regs leaves the `r` of the old registers away.
    renamed = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
    found = {name.removeprefix("r"): values[name] for name in renamed}
    found |= {f"r{number}": values[f"r{number}"] for number in range(8, 16)}
    others = {"ip": "rip", "cs": "cs", "ss": "ss", "flags": "eflags"}
    return found | {ours: values[stubs] for ours, stubs in others.items()}


def _aarch64(values: Mapping[str, int]) -> dict[str, Any]:
    return {
        "regs": [values[f"x{number}"] for number in range(31)],
        "sp": values["sp"],
        "pc": values["pc"],
        "pstate": values["cpsr"],
    }


def _s390x(values: Mapping[str, int]) -> dict[str, Any]:
    return {
        "psw": {"mask": values["pswm"], "addr": values["pswa"]},
        "gprs": [values[f"r{number}"] for number in range(16)],
    }


_PLATFORMS = {
    "x86_64": _Platform(
        "X86_64", "init_top_pgt", 0xFFFF_FFFF_8000_0000, 1 << 63, _x86_64,
        "NUMBER(phys_base)=0\n",
    ),
    "aarch64": _Platform(
        "AARCH64", "swapper_pg_dir", 0xFFFF_8000_0000_0000, 1 << 63, _aarch64,
        "NUMBER(VA_BITS)=48\nNUMBER(TCR_EL1_T1SZ)=0x10\n"
        "NUMBER(kimage_voffset)=0x0\nNUMBER(PHYS_OFFSET)=0x40000000\n"
        "NUMBER(KERNELPACMASK)=0xffff000000000000\n",
    ),
    "s390x": _Platform("S390X", "swapper_pg_dir", 0, 0, _s390x),
}  # fmt: skip


class DrgnStacks:
    """drgn, reading the registers and the stack of one sample at a time.

    Args:
        vmlinux: with DWARF.
        slide: where it runs.
        memory: the guest's; of it only what does not change is read.
        text: ranges of the kernel's code, where addresses alone do not tell user space.
    """

    def __init__(
        self,
        vmlinux: Image,
        slide: int,
        memory: Memory,
        *,
        text: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._memory = memory
        self._text = text
        self._platform = _PLATFORMS[vmlinux.architecture]
        self._chunks: tuple[tuple[int, bytes], ...] = ()
        self._everything = True  # until the modules are known
        self._drgn: Any = pytest.importorskip("drgn", reason="drgn is not installed")
        link = {name: vmlinux.address_of(name) or 0 for name in ("_stext", self._platform.root)}
        described = (
            f"OSRELEASE={vmlinux.linux_release}\nPAGESIZE=4096\n"
            f"SYMBOL(swapper_pg_dir)={(link[self._platform.root] + slide) % 2**64:x}\n"
            f"SYMBOL(_stext)={(link['_stext'] + slide) % 2**64:x}\n"
            f"KERNELOFFSET={slide:x}\n{self._platform.described}"
        ).encode()
        architecture = getattr(self._drgn.Architecture, self._platform.name)
        self._program = self._drgn.Program(self._drgn.Platform(architecture), vmcoreinfo=described)
        self._program.set_linux_kernel_custom(described, True)
        self._program.add_memory_segment(0, 2**64 - 1, self._read, False)
        self._program.load_debug_info([vmlinux.path])
        # Modules have no files here: drgn reads their ORC tables from the guest's memory.
        with contextlib.suppress(self._drgn.MissingDebugInfoError):
            self._program.load_debug_info(None, default=True)
        self._everything = False
        self._registers = self._program.type("struct pt_regs")

    def _read(self, address: int, size: int, _offset: int, _physical: bool) -> bytes:
        for start, data in self._chunks:
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        try:
            if self._everything or address >= self._platform.images:
                return self._memory.read(address, size)
        except MemoryFault:
            pass
        raise self._drgn.FaultError("not captured", address)

    def kernel_pcs(
        self, values: Mapping[str, int], chunks: tuple[tuple[int, bytes], ...]
    ) -> list[int]:
        """The kernel's frames; inlined functions share one.

        Args:
            values: of the registers, by the names that QEMU's stub gives them.
            chunks: address and bytes of each piece of the stack.
        """
        self._chunks = chunks
        given = self._drgn.Object(self._program, self._registers, self._platform.registers(values))
        return self.without_repeats(frame.pc for frame in self._program.stack_trace(given))

    def without_repeats(self, pcs: Iterable[int]) -> list[int]:
        """The pcs of the kernel, of neighbours that are equal only one."""
        return [pc for pc, _ in itertools.groupby(filter(self._of_kernel, pcs))]

    def _of_kernel(self, pc: int) -> bool:
        if self._text:
            return any(start <= pc < end for start, end in self._text)
        return pc >= self._platform.kernel
