"""The images that a UEFI firmware lists in its memory: a real one's, and any bytes at all."""

from __future__ import annotations

import lzma
import random
import re
import struct
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from symbols.build_folder import BuildFolder
from symbols.memory import BytesMemory
from symbols.space import AddressSpace
from symbols.uefi_images import described, find_system_table, listed
from symbols.uefi_listing import UefiListing

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures" / "edk2"


@cache
def pieces() -> tuple[tuple[int, bytes], ...]:
    text = lzma.decompress((FIXTURES / "memory.txt.xz").read_bytes()).decode()
    lines = (line.split() for line in text.splitlines())
    return tuple((int(address, 16), bytes.fromhex(data)) for address, data in lines)


def test_what_the_firmware_lists_is_what_it_has_said_in_its_log() -> None:
    memory = BytesMemory(pieces())
    table = find_system_table(memory)
    assert table is not None
    programs = listed(memory, table)
    found = {
        (one.start, said.entry): said.name
        for one, said in zip(programs, described(memory, programs), strict=True)
    }
    log = (FIXTURES / "debug.log").read_text()
    line = r"Loading driver at 0x(\w+) EntryPoint=0x(\w+) (\w+)\.efi"
    told = {(int(m[1], 16), int(m[2], 16)): m[3] for m in re.finditer(line, log)}
    assert len(told) > 80
    # It lists its core as well; what has ended, as one that found no work, it does not.
    assert set(found.values()) - set(told.values()) == {"DxeCore"}
    for place, name in found.items():
        assert name == "DxeCore" or told[place] == name


def test_names_with_the_folder_of_the_build() -> None:
    listing = UefiListing([BuildFolder(FIXTURES)])
    memory = BytesMemory(pieces())
    assert listing.read(memory)
    assert not listing.read(memory)
    space = AddressSpace([image.loaded for image in listing.images])
    at = space.symbol_at(0x1EFDD280)
    assert at is not None
    assert (at.symbol.name, at.image.name) == ("_ModuleEntryPoint", "Metronome")
    whole = space.image_at(0x1F6E4000)
    assert whole is not None
    assert (whole.name, whole.table) == ("FvbServicesRuntimeDxe", None)
    listing.forget()
    assert not listing.images
    assert not listing.read(BytesMemory([]))
    assert listing.read(memory)
    # Its memory was given to somebody else.
    assert listing.read(BytesMemory([]))
    assert not listing.images


def test_a_release_has_no_names_but_those_of_its_files() -> None:
    path = bytes.fromhex("0406140094be7f3db1fd3e49a8a8b6a3a8ab0de0") + b"\x7f\xff\x04\x00"
    loader = "\\EFI\\debian\\grubx64.efi\0".encode("utf-16-le")
    disk = struct.pack("<BBH", 4, 4, 4 + len(loader)) + loader + b"\x7f\xff\x04\x00"
    assert names(path) == ["3d7fbe94-fdb1-493e-a8a8-b6a3a8ab0de0"]
    assert names(disk) == ["grubx64"]
    assert names(b"\x7f\xff\x04\x00") == ["program at 0x8000000"]


def names(path: bytes) -> list[str]:
    """How a program with a device path and without any headers is called."""
    at, base = 0x70_0000, 0x800_0000
    config = struct.pack("<16sQ", bytes.fromhex("772e1549da1a6447b7a27afefed95e8b"), at + 0x200)
    memory = BytesMemory([
        (0x40_0000, b"IBI SYST" + struct.pack("<Q", at)),
        (at, b"IBI SYST" + bytes(96) + struct.pack("<QQ", 1, at + 0x100)),
        (at + 0x100, config),
        (at + 0x200, struct.pack("<IIQ", 0, 1, at + 0x300)),
        (at + 0x300, struct.pack("<Q", at + 0x400)),
        (at + 0x400, struct.pack("<I4xQ", 1, at + 0x500)),
        (at + 0x500, struct.pack("<32xQ24xQQ", at + 0x1000, base, 0x1000)),
        (at + 0x1000, path + bytes(512)),
        (base, bytes(64)),
    ])  # fmt: skip
    table = find_system_table(memory)
    assert table == at
    return [said.name for said in described(memory, listed(memory, at))]


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_any_bytes_are_a_list_or_none(seed: int, changes: int) -> None:
    """The firmware's memory with some of it overwritten."""
    chance = random.Random(seed)
    spoilt = [(address, bytearray(data)) for address, data in pieces()]
    for _ in range(changes):
        _, data = chance.choice(spoilt)
        at = chance.randrange(len(data))
        data[at : at + 8] = chance.choice([b"\xff", b"\0", b"A"]) * len(data[at : at + 8])
    listing = UefiListing()
    listing.read(BytesMemory([(address, bytes(data)) for address, data in spoilt]))
    for image in listing.images:
        assert 0 <= image.loaded.start < image.loaded.end <= 1 << 64
        assert image.loaded.name.isprintable()
    AddressSpace([image.loaded for image in listing.images])
