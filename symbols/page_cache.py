"""The beginning of a file that a guest has open, from what its kernel keeps of it in memory.

A file's pages hang in an XArray (include/linux/xarray.h; in a radix tree of the same form before
Linux 4.20), the first one in the first slot of each level. Which memory a page describes follows
from where the kernel has its description, and where it has all memory
(Documentation/arch/x86/x86_64/mm.rst).
"""

from __future__ import annotations

from collections.abc import Callable

from symbols.errors import BtfError
from symbols.memory import MemoryFault, gather
from symbols.structures import Structures

_WRAP = 1 << 64
_PAGE_BITS = 12
_PAGE = 1 << _PAGE_BITS
_PART = 512
#: Where all memory, and the descriptions of its pages, begin in a kernel that moves neither.
_MEMORY, _PAGES = 0xFFFF_8880_0000_0000, 0xFFFF_EA00_0000_0000
_DEEPEST = 16
#: Low bits of an entry: a node; of a page there are none.
_ENTRY_BITS, _NODE, _LOWEST_NODE = 3, 2, 4096


class PageCache:
    """Reads the first page of files.

    Args:
        structures: the guest's memory and types.
        architecture: of the guest, as its kernel names it.
        address_of: runtime address of a symbol.
    """

    def __init__(
        self,
        structures: Structures,
        architecture: str,
        address_of: Callable[[str], int | None],
    ) -> None:
        self._structures = structures
        self._known = architecture == "x86_64"
        self._memory = address_of("page_offset_base") if self._known else None
        self._pages = address_of("vmemmap_base") if self._known else None

    def first_page(self, file: int) -> bytes | None:
        """The first page of a file; None where it is not in memory, or cannot be told.

        Args:
            file: address of its `struct file`.
        """
        if not self._known:
            return None
        try:
            cache, _ = self._structures.member("file", "f_mapping")
            head, _ = self._structures.member("address_space", "i_pages.xa_head")
            slots, _ = self._structures.member("xa_node", "slots")
            size = self._structures.size("page")
            entry = self._pointer(self._pointer(file + cache.offset) + head.offset)
            for _ in range(_DEEPEST):
                if entry & _ENTRY_BITS != _NODE or entry < _LOWEST_NODE:
                    break
                entry = self._pointer(entry - _NODE + slots.offset)
            memory = self._at_symbol(self._memory, _MEMORY)
            pages = self._at_symbol(self._pages, _PAGES)
            if entry & _ENTRY_BITS or entry < pages or (entry - pages) % size:
                return None  # swapped out, or no page
            return self._read(memory + ((entry - pages) // size << _PAGE_BITS), _PAGE)
        except (MemoryFault, BtfError):
            return None

    def _at_symbol(self, symbol: int | None, fixed: int) -> int:
        return fixed if symbol is None else self._pointer(symbol)

    def _pointer(self, address: int) -> int:
        return self._structures.number(self._read(address % _WRAP, 8))

    def _read(self, address: int, size: int) -> bytes:
        """As it is now: nothing is kept of what changes."""
        if not 0 <= address <= _WRAP - size:
            raise MemoryFault(address, size)
        spans = [(address + at, min(_PART, size - at)) for at in range(0, size, _PART)]
        found = b"".join(part or b"" for part in gather(self._structures.memory, spans))
        if len(found) != size:
            raise MemoryFault(address, size)
        return found
