"""Linux guests that boot while a test looks on, and a second monitor to have them do that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from gprof.guest.emulator import Emulator
from tests.guests.linux import LinuxGuest


class ResettingGuest(LinuxGuest):
    """See `LinuxGuest`; the files of its kallsyms and modules are of the last boot."""

    @property
    def other_address(self) -> str:
        """A monitor for the test, beside the one that gprof holds."""
        return str(self.directory / "other")

    def extra_arguments(self) -> Sequence[str]:
        stays = [word for word in super().extra_arguments() if word != "-no-reboot"]
        return (*stays, "-qmp", f"unix:{self.other_address},server=on,wait=off")

    def await_boot(self) -> None:
        """Wait until it works again after a reset, and copy its kallsyms and modules."""
        self._wait_line()
        self.read_symbols()


class WaitingGuest(ResettingGuest):
    """A guest that has not executed its first instruction on entering."""

    def extra_arguments(self) -> Sequence[str]:
        return (*super().extra_arguments(), "-S")

    def __enter__(self) -> Self:
        Emulator.__enter__(self)
        return self

    def await_boot(self) -> None:
        """Wait until it works, once it was let run."""
        self._wait_ready()
        self.read_symbols()
