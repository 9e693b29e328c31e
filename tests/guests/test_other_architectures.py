"""Machines of other architectures that run no more than their firmware, by stub and by monitor."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from gprof.guest.emulator import Emulator, find_qemu
from gprof.recording.reader import read
from tests.command_line import end, gprof, started
from tests.guests.recordings import await_samples

#: `j .` for s390x: without anything to load, its firmware ends the machine.
S390X_PROGRAM = bytes.fromhex("a7f40000") + bytes(4096)


class Firmware(Emulator):
    """A machine with two vcpus and nothing to start."""

    def __init__(self, architecture: str, machine: str) -> None:
        super().__init__(
            ["-M", *machine.split(), "-smp", "2", "-m", "512", "-no-shutdown"],
            program=f"qemu-system-{architecture}",
        )
        self.architecture = architecture

    def extra_arguments(self) -> tuple[str, ...]:
        if self.architecture != "s390x":
            return ()
        program = self.directory / "program"
        program.write_bytes(S390X_PROGRAM)
        return ("-kernel", str(program))


@pytest.mark.guest
@pytest.mark.parametrize(
    ("architecture", "machine"),
    [
        ("aarch64", "virt -cpu cortex-a57"),
        ("s390x", "s390-ccw-virtio"),
        ("riscv64", "virt"),
        ("ppc64", "pseries"),
    ],
)
def test_it_is_sampled_by_stub_and_by_monitor(
    architecture: str, machine: str, tmp_path: Path
) -> None:
    if find_qemu(f"qemu-system-{architecture}") is None:
        pytest.skip(f"qemu-system-{architecture} is not installed")
    with Firmware(architecture, machine) as guest:
        for way, address in (("qmp", guest.qmp_address), ("gdb", guest.gdb_address)):
            path = tmp_path / f"{way}.gprof"
            if (architecture, way) == ("s390x", "qmp"):  # QEMU might not survive that
                refused = gprof("record", "--qmp", address, "-o", path, code=4)
                assert "Give --gdb" in refused.stderr
                continue
            with started("record", f"--{way}", address, "-o", path) as process:
                await_samples(path, 20)
                assert end(process, signal.SIGINT)[0] == 0
            profile = read(path)
            assert profile.guests[0].architecture == architecture
            assert profile.guests[0].vcpus == (0, 1)
            assert profile.facts.errors == 0
            assert set(profile.samples.vcpu.tolist()) == {0, 1}
