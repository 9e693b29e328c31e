"""A guest of another architecture, a dozen instructions long: no toolchain is needed for it."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gprof.attach import attach
from gprof.guest.address import Address
from gprof.guest.emulator import Emulator, find_qemu
from gprof.sampling.source import Mode, SampleBatch
from gprof.sampling_way import source_of
from gprof.sources import Sources
from symbols.disassembly import disassemble
from tests.command_line import end, gprof, started
from tests.guests.recordings import await_samples
from tests.monitor import Monitor
from tests.waiting import Deadline

QEMU = "qemu-system-aarch64"

#: Where RAM of the machine `virt` begins, past the device tree that QEMU puts there.
START = 0x4020_0000

#: The first vcpu starts the second by PSCI (Arm DEN0022, CPU_ON) and then runs in circles.
PROGRAM = (
    (0xD2B88000, "mov x0, #0xc4000000"),
    (0xF2800060, "movk x0, #3"),
    (0xD2800021, "mov x1, #1"),
    (0x100000C2, "adr x2, #0x40200024"),
    (0xD2800003, "mov x3, #0"),
    (0xD4000002, "hvc #0"),
    (0x91000484, "add x4, x4, #1"),  # 0x18, the first block of the loop
    (0x14000001, "b #0x40200020"),
    (0x17FFFFFE, "b #0x40200018"),  # 0x20, the second block
    (0xD503207F, "wfi"),  # 0x24, the second vcpu
    (0x17FFFFFF, "b #0x40200024"),
)
CODE = b"".join(struct.pack("<I", word) for word, _ in PROGRAM)
LOOP = {START + 0x18, START + 0x20}
RESTS = {START + 0x24, START + 0x28}


class BareGuest(Emulator):
    """The program on two vcpus at exception level 1, without firmware."""

    def __init__(self) -> None:
        super().__init__(
            ["-M", "virt", "-cpu", "cortex-a57", "-smp", "2", "-m", "64"], program=QEMU
        )

    def extra_arguments(self) -> Sequence[str]:
        program = self.directory / "program"
        program.write_bytes(CODE)
        return ("-device", f"loader,file={program},addr={START:#x},force-raw=on,cpu-num=0")


pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(
        find_qemu(QEMU) is None, reason=f"{QEMU} is not installed (apt-get install qemu-system-arm)"
    ),
]


def test_the_program_is_what_it_says() -> None:
    shown = [
        f"{one.mnemonic} {one.operands}".strip() for one in disassemble(CODE, START, "aarch64")
    ]
    assert shown == [text for _, text in PROGRAM]


def test_both_vcpus_are_where_the_program_has_them() -> None:
    with BareGuest() as guest:
        found = attach(Address.parse(guest.gdb_address), Sources())
        assert found.guest.architecture == "aarch64"
        assert found.guest.vcpus == (0, 1)
        source = source_of(found, hz=499, max_halted=1.0)
        taken = []
        deadline = Deadline("1000 samples", source.facts)
        for batch in source.batches():
            deadline.check()
            taken.append(batch)
            if sum(map(len, taken)) >= 1000:
                source.close()
        with Monitor(guest.qmp_address) as monitor:
            assert monitor.is_running()
    samples = SampleBatch.concatenate(taken)
    assert source.facts().errors == 0
    busy = samples.select(samples.vcpu == 0)
    assert set(np.unique(busy.mode)) == {Mode.KERNEL}
    assert set(busy.pc.tolist()) <= LOOP
    assert len(set(busy.pc.tolist())) == 2
    resting = samples.select(samples.vcpu == 1)
    assert set(np.unique(resting.mode)) == {Mode.IDLE}
    assert set(resting.pc.tolist()) <= RESTS


def test_recorded_without_symbols_it_is_reported_by_address(tmp_path: Path) -> None:
    path = tmp_path / "arm.gprof"
    with (
        BareGuest() as guest,
        Monitor(guest.qmp_address) as monitor,
        started("record", "--gdb", guest.gdb_address, "-F", "200", "-o", path) as process,
    ):
        await_samples(path, 100)
        assert end(process, signal.SIGINT)[0] == 0
        assert monitor.is_running()
    report = json.loads(gprof("report", "-i", path, "--json").stdout)
    assert report["guests"][0]["architecture"] == "aarch64"
    assert {row["mode"] for row in report["rows"]} <= {"kernel", "idle", "user"}
    assert sum(report["unresolved"].values()) == report["samples"]
