"""Which compilation units of debugging information have the code at some addresses.

The index (`.debug_aranges`) tells where there is one; clang writes none, and the assembler beside
it one of its own files alone. Then every unit is asked for its ranges, which takes seconds for a
kernel. Attributes and lists of ranges: DWARF 5, 2.17 and 6.1.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from elftools.dwarf.ranges import BaseAddressEntry


def units_at(dwarf: Any, addresses: Iterable[int]) -> list[Any]:
    """The units that have the code at addresses, each once and in their order.

    Args:
        dwarf: a file's debugging information, as `ELFFile.get_dwarf_info` gives it.
        addresses: as linked; one that no unit has is left out.

    Raises:
        Whatever pyelftools raises for a damaged file.
    """
    index = dwarf.get_aranges()
    found: set[int] = set()
    left: list[int] = []
    for address in addresses:
        offset = index.cu_offset_at_addr(address) if index is not None else None
        if offset is None:
            left.append(address)
        else:
            found.add(offset)
    units = dwarf.iter_CUs()
    while left and (unit := next(units, None)) is not None:
        ranges = list(_ranges(dwarf, unit))
        there = [one for one in left if any(start <= one < end for start, end in ranges)]
        if there:
            found.add(unit.cu_offset)
            left = [one for one in left if one not in there]
    return [dwarf.get_CU_at(offset) for offset in sorted(found)]


def _ranges(dwarf: Any, unit: Any) -> Iterator[tuple[int, int]]:
    """The first address of each stretch of a unit's code, and the one behind its last."""
    attributes = unit.get_top_DIE().attributes
    low, high = attributes.get("DW_AT_low_pc"), attributes.get("DW_AT_high_pc")
    base = low.value if low is not None else 0
    if low is not None and high is not None:
        # An address, or how far it is to there.
        yield base, high.value if high.form.startswith("DW_FORM_addr") else base + high.value
    lists = dwarf.range_lists()
    if "DW_AT_ranges" in attributes and lists is not None:
        for entry in lists.get_range_list_at_offset(attributes["DW_AT_ranges"].value, unit):
            if isinstance(entry, BaseAddressEntry):
                base = entry.base_address
            else:
                by = 0 if entry.is_absolute else base
                yield by + entry.begin_offset, by + entry.end_offset
