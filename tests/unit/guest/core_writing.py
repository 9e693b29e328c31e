"""Dumps of a guest's memory as QEMU writes them, made by hand, and a look at any."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from gprof.errors import FormatError
from gprof.guest.core_machine import CoreMachine
from symbols.memory import MemoryFault


def note(owner: bytes, content: bytes, kind: int = 0, order: str = "<") -> bytes:
    """A note of an ELF file."""
    padded = owner + b"\0"
    padded += bytes(-len(padded) % 4)
    head = struct.pack(order + "III", len(owner) + 1, len(content), kind)
    return head + padded + content + bytes(-len(content) % 4)


def core(
    notes: bytes,
    loads: list[tuple[int, bytes]],
    *,
    kind: int = 4,
    machine: int = 62,
    order: str = "<",
) -> bytes:
    """A dump with these notes, and RAM by physical address."""
    count = 1 + len(loads)
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + b"\x01"
    head = struct.pack(order + "16sHHIQQQIHHHHHH", ident, kind, machine, 1, 0, 64, 0, 0,
                       64, 56, count, 0, 0, 0)  # fmt: skip
    at = 64 + 56 * count
    segment = struct.Struct(order + "IIQQQQQQ")
    headers = segment.pack(4, 0, at, 0, 0, len(notes), len(notes), 0)
    at += len(notes)
    bodies = notes
    for address, data in loads:
        headers += segment.pack(1, 0, at, 0, address, len(data), len(data), 0)
        at += len(data)
        bodies += data
    return head + headers + bodies


def look_at(path: Path, addresses: Sequence[int]) -> None:
    """Read what may be a dump: it can be, or is refused."""
    try:
        machine = CoreMachine(path)
    except FormatError:
        return
    machine.sampled()
    machine.anchor()
    for address in addresses:
        try:
            assert len(machine.memory.read(address, 8)) == 8
        except MemoryFault:
            continue
