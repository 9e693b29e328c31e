"""The bundled guest: a small kernel with known shares of time, and the files that go with it."""

from __future__ import annotations

from pathlib import Path

from gprof.errors import GprofError
from gprof.guest.emulator import Emulator, find_qemu

_PACKAGE = Path(__file__).resolve().parents[1]


def demo_file(name: str) -> Path:
    """Where a bundled file lies: `demo.elf`, `demo.gprof`, `shares.json`, `workload.c`, ...

    An installed package carries them as `gprof/bundled`; in a checkout, and in an editable
    installation of one, they are in `fixtures/demo`.

    Raises:
        GprofError: there is no such file in either place.
    """
    for folder in (_PACKAGE / "bundled", _PACKAGE.parent / "fixtures" / "demo"):
        path = folder / name
        if path.is_file():
            return path
    raise GprofError(
        f"the bundled file {name} is missing from this installation",
        "Install the package again: pip install --force-reinstall guest-gprof",
    )


def qemu_available() -> str | None:
    """The path of the emulator that the demo guest runs under, or None."""
    return find_qemu()


class DemoGuest(Emulator):
    """The demo guest, running under QEMU while the context lasts.

    Args:
        vcpus: 1 to 8; the first works 80 % of its time, every other one 40 %.

    Raises:
        TargetError: on entering, QEMU is missing or does not start.
    """

    def __init__(self, *, vcpus: int = 2) -> None:
        if not 1 <= vcpus <= 8:
            raise ValueError(f"the demo guest has stacks for 1 to 8 vcpus, not {vcpus}")
        self.vcpus = vcpus
        self.image = demo_file("demo.elf")
        super().__init__(
            [
                "-name", "gprof-demo",
                "-M", "pc", "-accel", "tcg", "-smp", str(vcpus), "-m", "16",
                "-kernel", str(self.image),
                "-serial", "null",
            ]
        )  # fmt: skip
