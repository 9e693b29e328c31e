"""A guest whose vcpus are all out of its kernel: what is asked of it is answered all the same.

The model is a riscv64 as OpenSBI has it while vcpus wait for each other: machine mode, in which
nothing is translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gprof.attach import attach
from gprof.guest.address import Address
from gprof.guest.gdbstub import Stub
from gprof.guest.machine import Machine
from gprof.sources import Sources
from symbols.memory import MemoryFault, gather
from tests.stub_model import StubModel

KERNEL = 0xFFFF_FFFF_A1E0_0000
MODULE = 0xFFFF_FFFF_2253_1000
FIRMWARE = 0x8000_A308
STVEC, SATP, PRIVILEGE = 100, 101, 102
MACHINE_MODE = 3
#: Sv39. An entry says where the next table or the page is, and whether it may be read and run.
TABLE, LEAF = 0b1, 0b1011
ROOT, KERNELS, MODULES, LAST = 0x8_1000, 0x8_1001, 0x8_1002, 0x8_1003
PAGE = bytes(range(256)) * 16

DESCRIBED = {
    b"target.xml": b"""<target><architecture>riscv:rv64</architecture>
<xi:include href="core.xml"/></target>""",
    b"core.xml": b"""<feature name="core"><reg name="ra" bitsize="64"/><reg name="pc" bitsize="64"/>
<reg name="s2" bitsize="64"/><reg name="sp" bitsize="64"/><reg name="fp" bitsize="64"/>
<reg name="tp" bitsize="64"/><reg name="gp" bitsize="64"/>
<reg name="stvec" bitsize="64" regnum="100"/><reg name="satp" bitsize="64" regnum="101"/>
<reg name="priv" bitsize="64" regnum="102"/></feature>""",
}


def table(entries: dict[int, int]) -> bytes:
    """A page table with some entries."""
    return b"".join(entries.get(number, 0).to_bytes(8, "little") for number in range(512))


@pytest.fixture
def model(tmp_path: Path) -> Iterator[StubModel]:
    model = StubModel(tmp_path / "gdb", version="10.0.2")
    model.described = DESCRIBED
    model.pcs = [FIRMWARE, FIRMWARE]
    # The first was stopped by the kernel: it has no tables.
    model.further = [
        {STVEC: KERNEL + 0x100, SATP: 0, PRIVILEGE: MACHINE_MODE},
        {STVEC: KERNEL + 0x100, SATP: 8 << 60 | ROOT, PRIVILEGE: MACHINE_MODE},
    ]
    model.physical = {
        ROOT: table(
            {KERNEL >> 30 & 511: KERNELS << 10 | TABLE, MODULE >> 30 & 511: MODULES << 10 | TABLE}
        ),
        KERNELS: table({KERNEL >> 21 & 511: 0x8_0200 << 10 | LEAF}),
        MODULES: table({MODULE >> 21 & 511: LAST << 10 | TABLE}),
        LAST: table({MODULE >> 12 & 511: 0x8_5000 << 10 | LEAF}),
        0x8_0200: PAGE,
        0x8_5000: PAGE[::-1],
    }
    yield model
    model.close()


def test_its_kernel_and_modules_are_read(stub: Stub) -> None:
    memory = Machine(stub).memory
    assert memory.read(KERNEL + 8, 100) == PAGE[8:108]
    assert memory.read(MODULE, 4096) == PAGE[::-1]
    assert gather(memory, [(MODULE + 4096, 8), (MODULE + 8, 8)]) == [None, PAGE[::-1][8:16]]
    assert memory.readable([KERNEL, KERNEL - 4096]) == [True, False]


def test_before_there_are_tables_nothing_is_made_up(model: StubModel, stub: Stub) -> None:
    model.further[1][SATP] = 0
    with pytest.raises(MemoryFault):
        Machine(stub).memory.read(KERNEL, 8)


def test_it_has_come_to_its_kernel(model: StubModel) -> None:
    attached = attach(Address.parse(str(model.path)), Sources())
    attached.close()
    assert not attached.starting


def test_in_firmware_alone_it_has_not(model: StubModel) -> None:
    for registers in model.further:
        registers |= {STVEC: 0, SATP: 0}
    attached = attach(Address.parse(str(model.path)), Sources())
    attached.close()
    assert attached.starting
