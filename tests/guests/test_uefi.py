"""A UEFI firmware as it comes with a distribution, without any file: what it runs, by its list."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from gprof.guest.emulator import Emulator
from gprof.profile.profile import Profile
from gprof.profile.view import tabulate
from gprof.sampling.source import Mode
from symbols.space import Reason
from tests.command_line import PCS_ONLY, end, started
from tests.guests.recordings import await_recording

pytestmark = [pytest.mark.guest, pytest.mark.generations, pytest.mark.timeout(1200)]

#: Of Debian's package ovmf; since trixie there is the larger one alone.
FLASH = [
    (Path("/usr/share/OVMF/OVMF_CODE.fd"), Path("/usr/share/OVMF/OVMF_VARS.fd")),
    (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_VARS_4M.fd")),
]


class Firmware(Emulator):
    """OVMF with nothing to boot, which has not executed its first instruction on entering."""

    def extra_arguments(self) -> Sequence[str]:
        code, variables = next(pair for pair in FLASH if pair[0].exists())
        own = shutil.copy(variables, self.directory / "variables")
        drive = "if=pflash,format=raw,file"
        return (
            "-drive", f"{drive}={code},readonly=on", "-drive", f"{drive}={own}", "-net", "none",
        )  # fmt: skip


def drivers(profile: Profile) -> set[str]:
    """The parts of the firmware that were sampled."""
    return {row.module for row in tabulate(profile).rows if row.reason is Reason.FIRMWARE_IMAGE}


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize("way", ["--gdb", "--qmp"])
def test_its_drivers_are_told_apart(tmp_path: Path, way: str) -> None:
    if not any(code.exists() for code, _ in FLASH):
        pytest.skip("no OVMF is installed (apt-get install ovmf)")
    path = tmp_path / "x.gprof"
    with Firmware(["-M", "q35", "-m", "512"]) as guest:
        address = guest.gdb_address if way == "--gdb" else guest.qmp_address
        with started("record", way, address, *PCS_ONLY, "-o", path) as process:
            profile = await_recording(path, lambda profile: len(drivers(profile)) >= 5)
            assert end(process, signal.SIGINT)[0] == 0
    assert set(profile.samples.mode.tolist()) <= {Mode.FIRMWARE, Mode.KERNEL, Mode.IDLE}
