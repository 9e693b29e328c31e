"""The ORC tables of loaded modules, where the kernel keeps them: in its own memory.

`struct module` points to them (arch/x86/include/asm/module.h: num_orcs, orc_unwind_ip,
orc_unwind); the list `modules` has every struct module (include/linux/module.h). Where a member
lies the kernel's BTF says. The list may change while it is walked: what does not hold together is
left out, and the walk is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from symbols.btf import Btf
from symbols.errors import UnwindError
from symbols.memory import Memory, MemoryFault
from symbols.unwinding.orc_table import OrcTable
from symbols.unwinding.stack import words_of

_MOST_MODULES = 4096
#: The largest module of a distribution (amdgpu) has 400,000 entries.
_MOST_ENTRIES = 1 << 20
_LARGEST_TEXT = 64 << 20


@dataclass(frozen=True, slots=True)
class ModuleLayout:
    """Where this kernel's struct module has what unwinding needs; bytes from its start.

    Attributes:
        list: its link in the list of all modules.
        text: address of its instructions.
        text_size: how many bytes (u32) from there on are instructions.
        count: number of its ORC entries (u32).
        distances: pointer to `orc_unwind_ip`.
        entries: pointer to `orc_unwind`.
    """

    list: int
    text: int
    text_size: int
    count: int
    distances: int
    entries: int

    @classmethod
    def of(cls, btf: Btf) -> ModuleLayout | None:
        """The layout of a kernel; None where its modules have no ORC tables.

        Raises:
            BtfError: the types contradict themselves.
        """
        count = btf.member("module", "arch.num_orcs")
        if count is None:
            return None
        layout = btf.member("module", "core_layout")
        if layout is not None:  # up to 6.3
            text = layout.offset + btf.offset("module_layout", "base")
            text_size = layout.offset + btf.offset("module_layout", "text_size")
        else:
            first = btf.offset("module", "mem")
            first += btf.enum_value("MOD_TEXT") * btf.size("module_memory")
            text = first + btf.offset("module_memory", "base")
            text_size = first + btf.offset("module_memory", "size")
        return cls(
            list=btf.offset("module", "list"),
            text=text,
            text_size=text_size,
            count=count.offset,
            distances=btf.offset("module", "arch.orc_unwind_ip"),
            entries=btf.offset("module", "arch.orc_unwind"),
        )


def module_tables(memory: Memory, head: int, layout: ModuleLayout, version: int) -> list[OrcTable]:
    """The tables of every loaded module, at runtime addresses.

    Args:
        memory: the guest's.
        head: runtime address of `modules`.
        layout: of struct module.
        version: format of the kernel's own table; its loader takes no module with another one.
    """
    found = []
    for module in _walk(memory, head, layout):
        try:
            table = _table(memory, module, layout, version)
        except (MemoryFault, UnwindError):
            continue
        if table is not None:
            found.append(table)
    return found


def _walk(memory: Memory, head: int, layout: ModuleLayout) -> Iterator[int]:
    """The address of every struct module."""
    word = words_of(memory)
    seen: set[int] = set()
    try:
        at = word(head)
        while at != head and at not in seen and len(seen) < _MOST_MODULES:
            seen.add(at)
            yield (at - layout.list) % (1 << 64)
            at = word(at)
    except MemoryFault:
        return


def _table(memory: Memory, module: int, layout: ModuleLayout, version: int) -> OrcTable | None:
    word = words_of(memory)

    def half(address: int) -> int:
        return int.from_bytes(memory.read(address, 4), "little")

    text, text_size = word(module + layout.text), half(module + layout.text_size)
    count = half(module + layout.count)
    if not 0 < count <= _MOST_ENTRIES or not 0 < text_size <= _LARGEST_TEXT:
        return None
    distances, entries = word(module + layout.distances), word(module + layout.entries)
    # Entries of init text, which is gone by now, lie outside what the table covers.
    return OrcTable.of_memory(
        memory,
        (distances, distances + 4 * count),
        (entries, entries + 6 * count),
        (text, text + text_size),
        version=version,
    )
