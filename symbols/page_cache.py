"""The beginning of a file that a guest has open, from what its kernel keeps of it in memory.

A file's pages hang in an XArray (include/linux/xarray.h; in a radix tree of the same form before
Linux 4.20), the first one in the first slot of each level. Which memory a page describes follows
from where the kernel has its description, and where it has all memory:

- x86-64: two variables tell (Documentation/arch/x86/x86_64/mm.rst).
- AArch64: both follow from the size of a page and the width of its addresses, in one of three
  ways (arch/arm64/include/asm/memory.h of Linux 5.4, 5.11 and 6.9). A kernel made for addresses of
  52 bits has both where those would have them, also on a processor that has fewer.
- riscv64: they are fixed for each width (Documentation/arch/riscv/vm-layout.rst).
- s390x: a variable tells of the descriptions; memory begins at 0, or where since Linux 6.10
  another one says (arch/s390/include/asm/page.h).

Where there are several places to look at, the one that has an ELF file is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from symbols.errors import BtfError
from symbols.memory import MemoryFault, gather
from symbols.structures import Structures

_WRAP = 1 << 64
_PART = 512
#: Where all memory, and the descriptions of its pages, begin in a kernel that moves neither.
_MEMORY, _PAGES = 0xFFFF_8880_0000_0000, 0xFFFF_EA00_0000_0000
_DEEPEST = 16
#: Of AArch64: the widest addresses that a kernel can be made for; how wide they may be at least
#: where those are more than 48 bits, with pages of 16 KiB and with others; the bytes of a
#: description; and what lies behind all descriptions since 6.9, and from 5.4 to 5.10.
_WIDEST, _LEAST_OF_16K, _LEAST = 52, 47, 48
_DESCRIPTION, _BEHIND, _BEHIND_BEFORE = 64, 1 << 30, 2 << 20
#: Of riscv64 with addresses of 57, 48 and 39 bits, and of 39 bits in earlier kernels.
_RISCV64 = (
    (0xFF60_0000_0000_0000, 0xFF1C_0000_0000_0000),
    (0xFFFF_AF80_0000_0000, 0xFFFF_8D80_0000_0000),
    (0xFFFF_FFD6_0000_0000, 0xFFFF_FFC5_0000_0000),
    (0xFFFF_FFD8_0000_0000, 0xFFFF_FFC7_0000_0000),
)
_ELF = b"\x7fELF"
_HEAD = 4096
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
        self._places = {
            "x86_64": self._x86_64, "aarch64": self._aarch64, "riscv64": self._riscv64,
            "s390x": self._s390x,
        }.get(architecture)  # fmt: skip
        self._memory, self._pages = address_of("page_offset_base"), address_of("vmemmap_base")
        self._layout, self._s390x_pages = address_of("vm_layout"), address_of("vmemmap")

    def first_page(self, file: int, page: int) -> bytes | None:
        """The beginning of an ELF file; None where it is not in memory, or cannot be told.

        Args:
            file: address of its `struct file`.
            page: bytes of a page of the guest's kernel.

        Returns:
            4096 bytes, as the smallest page has.
        """
        if self._places is None:
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
            for memory, pages in self._places(file, page):
                if entry & _ENTRY_BITS or entry < pages or (entry - pages) % size:
                    continue  # swapped out, or no page
                found = self._head(memory + (entry - pages) // size * page)
                if found is not None:
                    return found
        except (MemoryFault, BtfError):
            pass
        return None

    def _x86_64(self, _file: int, _page: int) -> Iterator[tuple[int, int]]:
        """Where all memory begins, and where its descriptions do."""
        yield self._at_symbol(self._memory, _MEMORY), self._at_symbol(self._pages, _PAGES)

    def _aarch64(self, file: int, page: int) -> Iterator[tuple[int, int]]:
        """The same, of each generation; the upper bits of any structure tell the width."""
        for width in dict.fromkeys([(~file % _WRAP).bit_length(), _WIDEST]):
            least = min(width, _LEAST)
            if width > _LEAST and page == 16 << 10:
                least = _LEAST_OF_16K
            memory = _WRAP - (1 << width)
            size = ((1 << width) - (1 << (least - 1))) // page * _DESCRIPTION
            yield memory, _WRAP - (1 << width) // page * _DESCRIPTION
            yield memory, _WRAP - _BEHIND - size
            yield memory, _WRAP - _BEHIND_BEFORE - size

    def _riscv64(self, file: int, _page: int) -> Iterator[tuple[int, int]]:
        """The same; every structure lies in what begins at or below it."""
        yield from (places for places in _RISCV64 if places[0] <= file)

    def _s390x(self, _file: int, _page: int) -> Iterator[tuple[int, int]]:
        """The same."""
        memory = 0
        if self._layout is not None:
            base, _ = self._structures.member("vm_layout", "identity_base")
            memory = self._pointer(self._layout + base.offset)
        if self._s390x_pages is not None:
            yield memory, self._pointer(self._s390x_pages)

    def _head(self, address: int) -> bytes | None:
        """The beginning of a page that an ELF file begins in."""
        try:
            found = self._read(address, _HEAD)
        except MemoryFault:
            return None
        return found if found.startswith(_ELF) else None

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
