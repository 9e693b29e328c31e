"""A tree of devices with what riscv64 moves itself by, which QEMU leaves out.

The kernel takes a seed for KASLR out of `/chosen` (get_kaslr_seed in
arch/riscv/kernel/pi/fdt_early.c of Linux 6.12), where firmware puts it; QEMU's has no such thing.
The format is that of the Devicetree Specification, chapter 5.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Always the same, so that the kernel lies where it did: 0x21e00000 above its link address.
SEED = 0x0123_4567_89AB_CDEF
#: Magic, size, offsets of structure, strings and reservations, versions, the processor that boots,
#: sizes of strings and structure.
_HEAD = struct.Struct(">10I")
_CHOSEN = b"\0\0\0\1chosen\0\0"  # a node begins
_PROPERTY = struct.Struct(">3IQ")
_IS_PROPERTY = 3
_NAME = b"kaslr-seed\0"


def tree_with_seed(program: str, arguments: Sequence[str], folder: Path) -> Path:
    """The tree that QEMU makes for a machine, with a seed.

    Args:
        program: the emulator.
        arguments: its options that choose the machine, its processors and its memory.
        folder: a place for files of this guest.
    """
    plain, seeded = folder / "plain.dtb", folder / "seeded.dtb"
    asked = [program, *arguments, "-nodefaults", "-display", "none", "-M", f"dumpdtb={plain}"]
    subprocess.run(asked, check=True, capture_output=True)
    seeded.write_bytes(with_seed(plain.read_bytes()))
    return seeded


def with_seed(tree: bytes) -> bytes:
    """A tree of devices with a seed added; the blocks that change are put behind the others."""
    magic, _, at, strings_at, *others, strings_size, size = _HEAD.unpack_from(tree)
    structure, strings = tree[at:][:size], tree[strings_at:][:strings_size]
    inside = structure.index(_CHOSEN) + len(_CHOSEN)
    seed = _PROPERTY.pack(_IS_PROPERTY, 8, len(strings), SEED)
    structure = structure[:inside] + seed + structure[inside:]
    strings += _NAME
    before = tree + bytes(-len(tree) % 8)
    places = len(before), len(before) + len(structure)
    head = _HEAD.pack(
        magic, places[1] + len(strings), *places, *others, len(strings), len(structure)
    )
    return head + before[_HEAD.size :] + structure + strings
